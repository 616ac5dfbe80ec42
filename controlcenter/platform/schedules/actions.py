"""Actions: what the fires of schedules make. The rooms above register theirs."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from controlcenter.platform.accounts.models import Account
from controlcenter.platform.schedules.models import Schedule


@dataclass(frozen=True)
class Unfinished:
    """Something that a fire made and that is not over."""

    id: uuid.UUID
    state: str


class Action(ABC):
    """What a schedule of one sort does when it fires.

    ``name`` is what a schedule's column ``action`` says, ``noun`` what people call the things that
    its fires make. A schedule's ``spec`` is JSON that its action alone reads.
    """

    name: str
    noun: str

    @abstractmethod
    def check(self, schedule: Schedule) -> None:
        """Whether a schedule that is written could fire.

        Raises:
            APIException: if what it is to make can't be.
        """

    @abstractmethod
    def make(self, schedule: Schedule, *, account: Account | None, key: str) -> uuid.UUID:
        """Make the thing, in the transaction of the fire.

        Args:
            account: Who fired by hand; None: the clock.
            key: The same for the same fire: it makes one thing.

        Returns:
            Its id.

        Raises:
            APIException: if it can't be made now; the fire is refused and says so.
        """

    @abstractmethod
    def unfinished(self, ids: QuerySet[Any, uuid.UUID]) -> Unfinished | None:
        """The last one of these things that is not over, if there is one."""

    @abstractmethod
    def states(self, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
        """The states of those that are there."""

    def url(self, result_id: uuid.UUID) -> str:
        """Its page in the admin; empty: it has none."""
        return ""


_actions: dict[str, Action] = {}


def register(action: Action) -> None:
    """Raises: ValueError if the name is taken by another action."""
    if _actions.setdefault(action.name, action) is not action:
        raise ValueError(f"action {action.name!r} is registered already")


def of(schedule: Schedule) -> Action:
    """The action of a schedule.

    Raises:
        LookupError: if nobody registered it.
    """
    if schedule.action not in _actions:
        raise LookupError(f"no room registered the action {schedule.action!r}")
    return _actions[schedule.action]
