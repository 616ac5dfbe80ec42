"""What arrives at one user: neighbours by message type, of a graph and of events since."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ml.data.schema import USER, EdgeKey
from ml.graph.graph import Graph, Ints, reverse


@dataclass(frozen=True)
class Surroundings:
    """Distinct neighbours of one user.

    Args:
        sources: Index of the source of each in-edge, by message type that ends at a user.
        events: Events behind each of them.
        unknown: Neighbours that the graph does not have yet; they are left out.
    """

    sources: Mapping[EdgeKey, Ints]
    events: Mapping[EdgeKey, Ints]
    unknown: int = 0

    @property
    def num_edges(self) -> int:
        return sum(len(sources) for sources in self.sources.values())


@dataclass(frozen=True)
class SurroundingsIndex:
    """Finds what arrives at a user of a graph without looking at all edges.

    Edges are sorted by their source already; by target the order is made once for each edge type
    between users.
    """

    graph: Graph
    _by_target: dict[EdgeKey, tuple[Ints, Ints]] = field(default_factory=dict, repr=False)

    def of(self, user_id: str, since: pl.DataFrame | None = None) -> Surroundings:
        """The neighbours of a user.

        Args:
            user_id: One that the graph does not know has what ``since`` says.
            since: Events of the user as actor or target that the graph lacks: type, actor,
                target, target_type.
        """
        index = self.graph.index(USER).get(user_id)
        found = {}
        for edge in self.graph.schema.edges:
            if edge.target == USER:
                found[edge.key] = self._arriving(edge.key, index)
            if edge.source == USER:
                found[reverse(edge.key)] = self._sent(edge.key, index)
        unknown = self._add(found, user_id, since) if since is not None and len(since) else 0
        return Surroundings(
            {key: sources for key, (sources, _) in found.items()},
            {key: events for key, (_, events) in found.items()},
            unknown,
        )

    def _sent(self, key: EdgeKey, index: int | None) -> tuple[Ints, Ints]:
        pairs = self.graph.pairs(key)
        if index is None:
            return pairs.dst[:0], pairs.count[:0]
        first, last = np.searchsorted(pairs.src, [index, index + 1])
        return pairs.dst[first:last], pairs.count[first:last]

    def _arriving(self, key: EdgeKey, index: int | None) -> tuple[Ints, Ints]:
        pairs = self.graph.pairs(key)
        if index is None:
            return pairs.src[:0], pairs.count[:0]
        if key not in self._by_target:
            order = np.argsort(pairs.dst, kind="stable")
            self._by_target[key] = order, pairs.dst[order]
        order, target = self._by_target[key]
        rows = order[slice(*np.searchsorted(target, [index, index + 1]))]
        return pairs.src[rows], pairs.count[rows]

    def _add(
        self, found: dict[EdgeKey, tuple[Ints, Ints]], user_id: str, since: pl.DataFrame
    ) -> int:
        """Add the neighbours that events name; how many of them the graph does not know."""
        unknown = 0
        for edge in self.graph.schema.edges:
            fits = since.filter(type=edge.event, target_type=edge.target)
            for mine, other, key, at, end in (
                ("actor", "target", reverse(edge.key), edge.source, edge.target),
                ("target", "actor", edge.key, edge.target, edge.source),
            ):
                if at != USER:
                    continue
                named = fits.filter(pl.col(mine) == user_id)[other].value_counts(sort=True)
                index = self.graph.index(end)
                known = [(index[i], n) for i, n in named.iter_rows() if i in index]
                unknown += len(named) - len(known)
                found[key] = _joined(*found[key], known)
        return unknown


def _joined(sources: Ints, events: Ints, more: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    """Neighbours that are there already get no second edge."""
    if not more:
        return sources, events
    ids, counts = np.array(more, np.int64).T
    both = np.union1d(sources, ids)
    total = np.zeros(len(both), np.int64)
    total[np.searchsorted(both, sources)] = events
    total[np.searchsorted(both, ids)] += counts
    return both, total
