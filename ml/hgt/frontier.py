"""How far new edges and changed features reach: the states that change, and who is stale then.

The states after l layers change where an in-edge is new, where the node's own state before changed,
and where that of an in-neighbour changed; not beyond where they come out as they were, bit by bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ml.graph.growing import GrowingAdjacency
from ml.hgt.nodecache import NodeCache
from ml.hgt.rowpass import RowPass

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Changed = dict[str, tuple[Ints, Floats]]
"""Nodes whose states changed and by how much relative to before, at most 1, by node type."""

LEAST = 1e-12
"""A change that can't be measured is one all the same."""


@dataclass
class Frontier:
    """One batch on its way through the layers.

    Args:
        arrived: Share of each node's in-edges that are new, 1 for a new node. Shapes: [n].
    """

    caches: Mapping[str, NodeCache]
    adjacency: GrowingAdjacency
    rowpass: RowPass
    arrived: dict[str, Floats]
    moved: dict[str, Floats] = field(default_factory=dict)

    def advance(self, changed: Changed, *, now: float) -> int:
        """Bring every state but the embeddings up to date, and mark those stale.

        Args:
            changed: First states that are others than before.

        Returns:
            Rows that are stale by this batch, also where they were already.
        """
        self.moved = {name: arrived.copy() for name, arrived in self.arrived.items()}
        for name, arrived in self.arrived.items():
            rows = np.flatnonzero(arrived)
            self.caches[name].local.values[rows] = self.rowpass.local(name, rows)
        self._note(changed)
        for level in range(1, len(self.rowpass.layers)):
            changed = self._step(level, changed)
            self._note(changed)
        reached = self._reached(changed)
        count = 0
        for name, cache in self.caches.items():
            change = self.moved[name] + reached[name]
            rows = np.flatnonzero(change)
            cache.touch(rows, change[rows], now=now)
            count += len(rows)
        return count

    def _step(self, level: int, changed: Changed) -> Changed:
        reached, found = self._reached(changed), {}
        for name, cache in self.caches.items():
            dirty = self.arrived[name] + reached[name]
            if name in changed:
                dirty[changed[name][0]] += LEAST
            rows = np.flatnonzero(dirty)
            found[name] = replaced(
                cache.hidden[level].values, rows, self.rowpass.state(level, name, rows)
            )
        return found

    def _reached(self, changed: Changed) -> dict[str, Floats]:
        """Mean relative change of each node's in-neighbours. Shapes: [n]."""
        totals = {name: np.zeros(len(cache), np.float32) for name, cache in self.caches.items()}
        some = {name: found for name, found in changed.items() if len(found[0])}
        if some:
            self.adjacency.spread(some, totals)
            for name, total in totals.items():
                total /= np.maximum(self.caches[name].degree.values, 1)
        return totals

    def _note(self, changed: Changed) -> None:
        for name, (rows, weight) in changed.items():
            self.moved[name][rows] += weight


def replaced(states: Floats, rows: Ints, new: Floats) -> tuple[Ints, Floats]:
    """Put new states in the place of the old ones.

    Returns:
        The rows that changed in any bit, and by how much.
    """
    old = states[rows]
    other = np.flatnonzero((old != new).any(axis=1))
    size = np.linalg.norm(old[other], axis=1) + LEAST
    change = np.linalg.norm(new[other] - old[other], axis=1) / size
    states[rows] = new
    return rows[other], np.clip(change, LEAST, 1).astype(np.float32)
