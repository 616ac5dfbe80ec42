"""What the engine answers."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ApplyResult:
    """What a batch of events did.

    Args:
        events: Events that make an edge, also one that was there.
        ignored: Events that make none: of a type that the schema does not know, or without ends.
        new_edges: Pairs that were not there.
        new_nodes: By node type.
        edges: In-edges that were gone through to bring the states up to date.
        followed: Out-edges that were followed to find whom it reaches.
        stale: Rows that the batch made stale, also those that were.
    """

    events: int
    ignored: int
    new_edges: int
    new_nodes: Mapping[str, int]
    edges: int
    followed: int
    stale: int


@dataclass(frozen=True)
class RefreshResult:
    """Rows that are fresh now.

    Args:
        embeddings: Ids and embeddings by node type. Shapes: [n, EMBEDDING_DIM].
        edges: In-edges that were gone through.
    """

    embeddings: Mapping[str, tuple[list[str], Floats]]
    edges: int


@dataclass(frozen=True)
class Backlog:
    """What is stale.

    Args:
        rows: Stale rows by node type.
        edges: In-edges to go through until nothing is.
        staleness_p50, staleness_p99: Over the stale rows, in seconds; 0 where there are none.
        since: Seconds: since when the oldest of them is stale; None where there are none.
    """

    rows: Mapping[str, int]
    edges: int
    staleness_p50: float
    staleness_p99: float
    since: float | None = None
