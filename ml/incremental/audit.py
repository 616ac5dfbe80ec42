"""What an engine has beside a full pass."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.incremental.node_cache import NEVER, NodeCache
from ml.incremental.recompute import FullPass

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Audit:
    """A comparison of what is not stale with a full pass.

    Args:
        rows: Nodes compared: all their states, and their embeddings where they are not stale.
        max_abs: The largest difference of two values.
        relative: The largest difference in a row over the largest value in it.

    Both are infinite where a value is not finite.
    """

    rows: int
    max_abs: float
    relative: float


def compare(caches: Mapping[str, NodeCache], whole: FullPass, drawn: Ints) -> Audit:
    """Some nodes beside a pass over the same graph.

    Args:
        drawn: Indices of the nodes in all node types, one after the other.
    """
    first, max_abs, relative = 0, 0.0, 0.0
    for name, cache in caches.items():
        own = np.sort(drawn[(drawn >= first) & (drawn < first + len(cache))]) - first
        first += len(cache)
        fresh = own[cache.since.values[own] == NEVER]
        compared = [
            (cache.z, whole.z[name], fresh),
            (cache.local, whole.local[name], own),
            (cache.identity, whole.identity[name], own),
        ]
        compared += [
            (column, h[name], own) for column, h in zip(cache.hidden, whole.hidden, strict=True)
        ]
        for column, expected, some in compared:
            if len(some):
                both = difference(column.values[some], expected.numpy()[some])
                max_abs, relative = max(max_abs, both[0]), max(relative, both[1])
    return Audit(len(drawn), max_abs, relative)


def difference(values: Floats, expected: Floats) -> tuple[float, float]:
    """See ``Audit``: ``max_abs`` and ``relative`` of some rows. Shapes: [n, width]."""
    with np.errstate(invalid="ignore"):
        error = np.abs(values - expected).max(1)
        size = np.maximum(np.abs(expected).max(1), 1e-12)
        worst = float(error.max()), float((error / size).max())
    return worst if np.isfinite(worst).all() else (np.inf, np.inf)
