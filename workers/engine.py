"""What the incremental refresh needs of the engine that keeps the layer states."""

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import polars as pl

Rows = tuple[list[str], npt.NDArray[np.float32]]


class Applied(Protocol):
    """What a batch of events did."""

    @property
    def edges(self) -> int:
        """Edges that were touched to bring the inner layers up to date."""


class Refreshed(Protocol):
    """Rows that are fresh now."""

    @property
    def embeddings(self) -> Mapping[str, Rows]:
        """Ids and embeddings by node type. Shapes: [n, 64]."""

    @property
    def edges(self) -> int:
        """Edges that were touched."""


class Backlog(Protocol):
    """What is stale."""

    @property
    def rows(self) -> Mapping[str, int]:
        """Stale rows by node type."""

    @property
    def edges(self) -> int:
        """Edges to touch until nothing is stale."""

    @property
    def staleness_p50(self) -> float:
        """Median over the stale rows, in seconds; 0 where there are none."""

    @property
    def staleness_p99(self) -> float:
        """The same, of the longest waiting hundredth."""


class Audit(Protocol):
    """A comparison of rows that are not stale with a full pass."""

    @property
    def rows(self) -> int:
        """Rows compared."""

    @property
    def relative(self) -> float:
        """The largest relative error."""


class Engine(Protocol):
    """Layer states that are brought up to date by events; ``ml.hgt.incremental`` has it."""

    @classmethod
    def start(cls, model: Any, encoder: Any, graph: Any) -> Self:
        """From a graph, by one full pass."""

    @classmethod
    def restore(cls, model: Any, encoder: Any, state: bytes) -> Self:
        """From what ``checkpoint`` gave."""

    def checkpoint(self) -> bytes:
        """Everything that is needed to go on."""

    def apply(self, events: pl.DataFrame, *, now: float) -> Applied:
        """Take events, each once by its ``event_id``; rows that they reach are stale then."""

    def drain(self, budget_edges: int, *, now: float) -> Refreshed:
        """Refresh stale rows, the most urgent first."""

    def refresh(self, node_type: str, ids: list[str], *, now: float) -> Refreshed:
        """The embeddings of these nodes, refreshed where they are stale; unknown ids are left
        out."""

    def backlog(self, *, now: float) -> Backlog:
        """What is stale."""

    def audit(self, *, rows: int, seed: int) -> Audit:
        """Compare a sample with a full pass."""


def engine_class() -> type[Engine]:
    """The engine. Loaded late: it brings torch."""
    found: type[Engine] = importlib.import_module("ml.hgt.incremental").IncrementalEngine
    return found
