"""What the pages of the admin are told: operations, roles of the account, the workspace filter."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from controlcenter.platform.accounts.console_forms import ConsoleForm
from controlcenter.platform.accounts.models import Account, Membership, Role
from controlcenter.platform.accounts.scope import visible_workspaces


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


def account_of(request: HttpRequest) -> Account:
    account = request.user
    assert isinstance(account, Account)
    return account


def roles_of(request: HttpRequest) -> dict[Any, Role]:
    """The account's role by workspace, read once a request."""
    cached = getattr(request, "_console_roles", None)
    if cached is None:
        pairs = Membership.objects.filter(account=account_of(request)).values_list(
            "workspace_id", "role"
        )
        cached = {workspace: Role(role) for workspace, role in pairs}
        request._console_roles = cached  # type: ignore[attr-defined]
    return dict(cached)


class WorkspaceFilter(admin.SimpleListFilter):
    """By workspace, among those the account may see."""

    title = "workspace"
    parameter_name = "workspace"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return list(visible_workspaces(account_of(request)).values_list("slug", "slug"))

    def has_output(self) -> bool:
        return len(self.lookup_choices) > 1

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(**{f"{queryset.model.workspace_path}__slug": self.value()})
