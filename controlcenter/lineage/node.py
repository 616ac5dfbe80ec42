"""A node of the lineage: one thing, and what is known of it."""

from dataclasses import dataclass, field
from datetime import datetime

from controlcenter.lineage.refs import Ref

DERIVED = "derived_dataset"
"""How a dataset that names its source is shown."""


@dataclass(frozen=True)
class Node:
    """One thing of the lineage.

    Args:
        kind: As of its ref, and ``derived_dataset`` for a dataset that was made from another.
        state: What its room says of it: ready, deleted, active; empty: nothing. Also that the
            report behind its numbers cannot be read.
        run, task, iteration: Who made it; None where nobody wrote that down.
        exists: Whether it can still be had: objects that are there, profiles that are of it.
        numbers: Counts and metrics by name.
        score_validated: Of a profile and an evaluation, whether the score was measured against
            more than the rules; None where nobody knows, and of all else.
        hashes: SHA-256 and revisions by name.
    """

    ref: Ref
    kind: str
    name: str
    at: datetime | None
    state: str = ""
    run: str | None = None
    task: str | None = None
    iteration: int | None = None
    exists: bool = True
    numbers: dict[str, float] = field(default_factory=dict)
    score_validated: bool | None = None
    hashes: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.ref.key

    @property
    def id(self) -> str:
        return self.ref.id


def numbers(**values: float | None) -> dict[str, float]:
    """Those that are known."""
    return {name: value for name, value in values.items() if value is not None}


def texts(**values: str) -> dict[str, str]:
    """Those that say something."""
    return {name: value for name, value in values.items() if value}


def text(value: object) -> str | None:
    """An id as JSON has it."""
    return None if value is None else str(value)
