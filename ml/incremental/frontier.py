"""How far new edges and changed features reach: the states that change, and who is stale then.

The states after l layers change where an in-edge is new, where the node's own state before changed,
and where that of an in-neighbour changed; not beyond where they come out as they were, bit by bit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ml.graph.adjacency import SparseRows
from ml.graph.message_types import MessageType
from ml.incremental.hubs import Hubs
from ml.incremental.recompute import Recomputation

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
RowStates = dict[str, tuple[Ints, Floats]]
"""Nodes and a row for each, by node type."""

ChangedRows = dict[str, tuple[Ints, Floats]]
"""Nodes whose states changed and by how much relative to before, at most 1, by node type."""

LEAST = 1e-12
"""A change that can't be measured is one all the same."""


class AddedEdges(Protocol):
    """What the frontier needs to know of new edges, see ``ml.incremental.intake.NewEdges``."""

    @property
    def share(self) -> Mapping[str, Floats]: ...

    def rows(self, node_type: str, nodes: Ints) -> dict[MessageType, SparseRows]: ...


@dataclass
class Frontier:
    """One batch on its way through the layers.

    Attributes:
        change: How much of what each embedding is made of has changed. Shapes: [n].
        ready: Hubs and their states after the first layer.
        followed: Out-edges that were followed to find whom a change reaches.
    """

    recomputation: Recomputation
    hubs: Hubs
    new_edges: AddedEdges
    change: dict[str, Floats] = field(init=False)
    ready: RowStates = field(default_factory=dict)
    followed: int = 0

    def __post_init__(self) -> None:
        self.change = {name: share.copy() for name, share in self.new_edges.share.items()}

    def advance(self, changed: ChangedRows, *, now: float) -> int:
        """Bring every state but the embeddings up to date, and mark those stale.

        Args:
            changed: Nodes that were there whose first state is another one.

        Returns:
            Rows that are stale by this batch, also where they were already.
        """
        self._note(changed)
        reached = self._reached(changed)
        for name, total in reached.items():
            if name in changed:
                self.hubs.forget(name, changed[name][0])
            self.hubs.forget(name, np.flatnonzero(total))
        self._neighbourhoods()
        for level in range(1, len(self.recomputation.layers)):
            changed = self._step(level, changed, reached)
            self._note(changed)
            reached = self._reached(changed)
        count = 0
        for name, cache in self.recomputation.caches.items():
            change = self.change[name] + reached[name]
            rows = np.flatnonzero(change)
            cache.touch(rows, change[rows], now=now)
            count += len(rows)
        return count

    def _neighbourhoods(self) -> None:
        """What the own edges say; of hubs the first layer too, from the same sums."""
        for name, share in self.new_edges.share.items():
            local = self.recomputation.caches[name].local.values
            rows = np.flatnonzero(share)
            hubs = self.hubs.among(name, rows)
            local[rows[~hubs]] = self.recomputation.local(name, rows[~hubs])
            rows = rows[hubs]
            states = np.empty((len(rows), local.shape[1]), np.float32)
            for indices, edges in self._arriving(name, rows):
                self.recomputation.count(edges)
                own = rows[indices]
                local[own], states[indices] = self.hubs.extend(name, own, edges)
            self.ready[name] = rows, states

    def _arriving(
        self, name: str, rows: Ints
    ) -> Iterator[tuple[Ints, dict[MessageType, SparseRows]]]:
        """Indices of hubs in ``rows``, and the edges that are to be added at them."""
        stored = self.hubs.stored(name, rows)
        if stored.any():
            yield np.flatnonzero(stored), self.new_edges.rows(name, rows[stored])
        first = 0
        indices = np.flatnonzero(~stored)
        for part in self.recomputation.slices(name, rows[indices]):
            yield (
                indices[first : first + len(part)],
                self.recomputation.adjacency.arriving(name, part),
            )
            first += len(part)

    def _step(self, level: int, changed: ChangedRows, reached: Mapping[str, Floats]) -> ChangedRows:
        changed_now = {}
        for name, cache in self.recomputation.caches.items():
            dirty = (self.new_edges.share[name] > 0) | (reached[name] > 0)
            if name in changed:
                dirty[changed[name][0]] = True
            parts = []
            if level == 1:
                rows, states = self.ready[name]
                dirty[rows] = False
                parts.append(replaced(cache.hidden[level].values, rows, states))
            rows = np.flatnonzero(dirty)
            states = self.recomputation.state(level, name, rows)
            parts.append(replaced(cache.hidden[level].values, rows, states))
            rows, weight = (np.concatenate(both) for both in zip(*parts, strict=True))
            changed_now[name] = rows, weight
        return changed_now

    def _reached(self, changed: ChangedRows) -> dict[str, Floats]:
        """Mean relative change of each node's in-neighbours. Shapes: [n]."""
        caches = self.recomputation.caches
        totals = {name: np.zeros(len(cache), np.float32) for name, cache in caches.items()}
        some = {name: own for name, own in changed.items() if len(own[0])}
        if some:
            self.followed += self.recomputation.adjacency.spread(some, totals)
            for name, total in totals.items():
                total /= np.maximum(caches[name].degree.values, 1)
        return totals

    def _note(self, changed: ChangedRows) -> None:
        for name, (rows, weight) in changed.items():
            self.change[name][rows] += weight


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
