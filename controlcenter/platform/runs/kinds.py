"""Kinds of run: where each goes and whom it is for. The rooms above register theirs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from controlcenter.platform.runs.models import Run
from controlcenter.platform.runs.owners import Owner


@dataclass(frozen=True)
class Kind:
    """One kind of run.

    Args:
        queue: Celery queue, where a run does not name another one.
        owner: Whom runs of it are for.
        progressed: Whether a lost run had done something that stays: then its attempts are counted
            from the beginning. None: every loss counts.
        retry_hint: What the operator does after the last attempt was lost.
    """

    name: str
    queue: str
    owner: Owner[Any] = field(default_factory=Owner)
    progressed: Callable[[Run], bool] | None = None
    retry_hint: str = "create the task again"

    @property
    def job(self) -> str:
        """Name of the Celery task that does it."""
        return f"workers.{self.name}"


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Raises: ValueError if the name is taken by another kind."""
    if _kinds.setdefault(kind.name, kind) != kind:
        raise ValueError(f"kind {kind.name!r} is registered already")


def get(name: str) -> Kind:
    """Raises: KeyError if nobody registered the kind."""
    return _kinds[name]


def owners() -> Iterator[Owner[Any]]:
    """Each owner that some kind of run has, once."""
    yield from {id(kind.owner): kind.owner for kind in _kinds.values()}.values()
