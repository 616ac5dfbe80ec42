"""Kinds of run: where each goes, and who hears when it is given up.

The rooms above register theirs, so that this one need not know them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from controlcenter.modelling.tasks import states


@dataclass(frozen=True)
class Kind:
    """One kind of run.

    Args:
        queue: Celery queue.
        job: Name of the Celery task that does it.
        on_failed: Called in the transaction that gives a run without a task up, with the run and
            the sentence for the operator.
        progressed: Whether a lost run had done something that stays: then its attempts are counted
            from the beginning. None: every loss counts.
        again: What the operator does after it was given up.
    """

    name: str
    queue: str
    job: str
    on_failed: Callable[[Any, str], None] | None = None
    progressed: Callable[[Any], bool] | None = None
    again: str = "create the task again"


_kinds: dict[str, Kind] = {
    stage: Kind(stage, "refresh", f"workers.{stage}") for stage in states.STAGES
}


def register(kind: Kind) -> None:
    """Raises: ValueError if the name is taken by another kind."""
    if _kinds.setdefault(kind.name, kind) != kind:
        raise ValueError(f"kind {kind.name!r} is registered already")


def get(name: str) -> Kind:
    """Raises: KeyError if nobody registered the kind."""
    return _kinds[name]


def queue_for(name: str, device: str) -> str:
    """The queue of a kind; stages of a task that asks for a GPU go to the GPU workers."""
    queue = get(name).queue
    return f"{queue}-gpu" if queue == "refresh" and device == "gpu" else queue
