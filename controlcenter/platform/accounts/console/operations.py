"""What an admin can offer to do, and how it ended."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from controlcenter.platform.accounts.console.forms import ConsoleForm
from controlcenter.platform.accounts.models import Role


@dataclass(frozen=True)
class Done:
    """How an operation ended.

    Args:
        message: What to tell.
        url: Where to go; empty: the row's page, else the list.
    """

    message: str
    url: str = ""


@dataclass(frozen=True)
class Operation:
    """Something an account can do to a row, or in a list.

    Args:
        name: In its address.
        run: Method of the admin: ``(request, row or None, cleaned data) -> Done | HttpResponse``.
        role: Least role in the row's workspace (the form's workspace field for a list).
        form: Filled in first; None: a button that does it at once.
        offered: Whether it makes sense for a row now. The service decides in the end.
        bulk: Offered for several rows of the list as well.
        danger: Looks like something to think about.
    """

    name: str
    label: str
    run: str
    role: Role
    form: type[ConsoleForm] | None = None
    offered: Callable[[Any], bool] = lambda row: True
    bulk: bool = False
    danger: bool = False
    help: str = ""

    @property
    def asks(self) -> bool:
        """Whether it has a page; for templates, which would call ``form``."""
        return self.form is not None
