"""Whom a run is for, as the engine asks it.

The engine claims, renews, ends and repeats runs, and knows of what they are for only what stands
here. A room that has work of its own derives from ``Owner`` and registers it with its kinds; where
a method stays as it is, the run is for nobody who would mind.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from controlcenter.platform.runs.models import Run

Row = TypeVar("Row")
"""The row of an owner, as ``lock`` gives it."""


class StopRequest(Enum):
    """What somebody asked for while a run was live. Cancel wins over suspend and completion."""

    CANCEL = "cancel"
    SUSPEND = "suspend"


class RunOutcome(Enum):
    """How a run ended, for its owner."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUSPENDED = "suspended"


@dataclass(frozen=True)
class Ending:
    """The end of a run that no other attempt follows.

    Args:
        actor: Who ended it: a worker, or the reaper.
        sentence: Why it failed, for the operator; empty for the other outcomes.
    """

    outcome: RunOutcome
    actor: str
    sentence: str = ""


class Owner(Generic[Row]):
    """What a kind of run asks of the room that it works for. All calls but ``is_ready`` and
    ``overdue`` come with the owner's row locked, in the transaction of what happens to the run."""

    def lock(self, owner_id: uuid.UUID, *, skip_locked: bool = False) -> Row | None:
        """The owner's row, locked before the run is; None: not there, or locked by another."""
        return None

    def folder(self, owner_id: uuid.UUID | None, run_id: uuid.UUID, iteration: int) -> str:
        """Prefix of the objects that the attempts at one piece of work leave."""
        return f"tasks/runs/{run_id}"

    def may_begin(self, row: Row | None, run: "Run") -> bool:
        """Whether it is the run's turn; may take locks that last until the claim."""
        return True

    def is_ready(self, run: "Run") -> bool:
        """Whether a queued run waits for nothing but a worker. A guess: ``may_begin`` decides."""
        return True

    def began(self, row: Row | None, run: "Run", *, actor: str) -> None:
        """A worker claimed the run."""

    def stop_requested(self, row: Row | None) -> StopRequest | None:
        """What somebody asked for, if anything."""
        return None

    def overdue(self, after: timedelta) -> Iterable[uuid.UUID]:
        """Owners whose stop was requested longer ago than ``after`` and is not done."""
        return ()

    def reported(self, row: Row | None, run_kind: str, steps: Sequence[dict[str, Any]]) -> None:
        """The worker told of progress, oldest step first."""

    def retried(self, row: Row | None, following: "Run", *, reason: str) -> None:
        """Another attempt at the same work was queued."""

    def reused(self, row: Row | None, earlier: "Run") -> None:
        """The run is done with what an earlier one left; called before ``ended``."""

    def ended(self, row: Row | None, run: "Run | None", ending: Ending) -> None:
        """The run ended, and no other attempt follows; None: there was no live run any more."""

    def url(self, owner_id: uuid.UUID) -> str:
        """Its page in the admin; empty: it has none."""
        return ""
