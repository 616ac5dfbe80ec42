"""States of a task, and the one table of the edges between them."""

from typing import Final

PENDING: Final = "pending"
OPTIMIZING: Final = "optimizing"
BUILDING: Final = "building"
TRAINING: Final = "training"
EMBEDDING: Final = "embedding"
EVALUATING: Final = "evaluating"
LOOPING: Final = "looping"
SUSPENDED: Final = "suspended"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

STAGES: Final = (OPTIMIZING, BUILDING, TRAINING, EMBEDDING, EVALUATING)
"""States in which a worker runs."""

ACTIVE: Final = (*STAGES, LOOPING)
"""States in which a task holds its workspace."""

FINAL: Final = (COMPLETED, FAILED, CANCELLED)
INCOMPLETE: Final = (PENDING, *ACTIVE, SUSPENDED)
CHOICES: Final = [(state, state) for state in (*INCOMPLETE, *FINAL)]

EDGES: Final[dict[str, frozenset[str]]] = {
    PENDING: frozenset({OPTIMIZING, BUILDING, TRAINING, CANCELLED}),
    OPTIMIZING: frozenset({BUILDING, FAILED, CANCELLED, SUSPENDED}),
    BUILDING: frozenset({TRAINING, EMBEDDING, FAILED, CANCELLED, SUSPENDED}),
    TRAINING: frozenset({EMBEDDING, FAILED, CANCELLED, SUSPENDED}),
    EMBEDDING: frozenset({COMPLETED, EVALUATING, FAILED, CANCELLED, SUSPENDED}),
    EVALUATING: frozenset({COMPLETED, LOOPING, FAILED, CANCELLED, SUSPENDED}),
    LOOPING: frozenset({OPTIMIZING, COMPLETED, CANCELLED, SUSPENDED}),
    SUSPENDED: frozenset({*ACTIVE, CANCELLED}),
    COMPLETED: frozenset(),
    FAILED: frozenset(),
    CANCELLED: frozenset(),
}


def sources(target: str) -> list[str]:
    """States from which ``target`` can be reached, in the order of the table."""
    return [state for state, targets in EDGES.items() if target in targets]
