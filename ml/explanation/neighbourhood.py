"""What arrives at one user: neighbours by message type, of a graph and of events since."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ml.contracts.schema import USER, EdgeKey
from ml.graph.ages import Ages
from ml.graph.graph import UNKNOWN_TIME, Graph, Ints
from ml.graph.message_types import UNKNOWN_AGE, MessageType
from ml.graph.structure import first_times


@dataclass(frozen=True)
class UserNeighbourhood:
    """Distinct neighbours of one user.

    Args:
        sources: Index of the source of each in-edge, by message type that ends at a user.
        events: Events behind each of them.
        ages: Age class of each of them.
        unknown: Neighbours that the graph does not have yet; they are left out.
    """

    sources: Mapping[MessageType, Ints]
    events: Mapping[MessageType, Ints]
    ages: Mapping[MessageType, Ints]
    unknown: int = 0

    @property
    def num_edges(self) -> int:
        return sum(len(sources) for sources in self.sources.values())


@dataclass(frozen=True)
class _Neighbours:
    """Of one message type, as in ``UserNeighbourhood``."""

    sources: Ints
    events: Ints
    ages: Ints


@dataclass(frozen=True)
class NeighbourhoodIndex:
    """Finds what arrives at a user of a graph without looking at all edges.

    Edges are sorted by their source already; by target the order is made once for each edge type
    between users, and ages once for each edge type.

    Args:
        ages: Of the model; None where they play no part.
    """

    graph: Graph
    ages: Ages | None = None
    _by_target: dict[EdgeKey, tuple[Ints, Ints]] = field(default_factory=dict, repr=False)
    _ages: dict[EdgeKey, Ints] = field(default_factory=dict, repr=False)

    def of(self, user_id: str, since: pl.DataFrame | None = None) -> UserNeighbourhood:
        """The neighbours of a user.

        Args:
            user_id: One that the graph does not know has what ``since`` says.
            since: Events of the user as actor or target that the graph lacks: type, actor,
                target, target_type, timestamp; in the order in which they came.
        """
        index = self.graph.index(USER).get(user_id)
        neighbours = {}
        for edge in self.graph.schema.edges:
            forward = MessageType(*edge.key)
            if edge.target == USER:
                rows = self._arriving(edge.key, index)
                neighbours[forward] = self._neighbours(
                    edge.key, self.graph.pairs(edge.key).src, rows
                )
            if edge.source == USER:
                rows = self._sent(edge.key, index)
                neighbours[forward.reversed] = self._neighbours(
                    edge.key, self.graph.pairs(edge.key).dst, rows
                )
        unknown = self._add(neighbours, user_id, since) if since is not None and len(since) else 0
        return UserNeighbourhood(
            {message: near.sources for message, near in neighbours.items()},
            {message: near.events for message, near in neighbours.items()},
            {message: near.ages for message, near in neighbours.items()},
            unknown,
        )

    def _neighbours(self, key: EdgeKey, ends: Ints, rows: Ints | slice) -> _Neighbours:
        pairs = self.graph.pairs(key)
        return _Neighbours(ends[rows], pairs.count[rows], self._ages_of(key)[rows])

    def _ages_of(self, key: EdgeKey) -> Ints:
        """Age class of each pair of an edge type. Shape: [P]."""
        none = np.broadcast_to(np.int64(UNKNOWN_AGE), len(self.graph.pairs(key)))
        if self.ages is None:
            return none
        if key not in self._ages:
            times = first_times(self.graph, key)
            self._ages[key] = none if times is None else self.ages.classes(times)
        return self._ages[key]

    def _sent(self, key: EdgeKey, index: int | None) -> slice:
        if index is None:
            return slice(0)
        return slice(*np.searchsorted(self.graph.pairs(key).src, [index, index + 1]))

    def _arriving(self, key: EdgeKey, index: int | None) -> Ints | slice:
        if index is None:
            return slice(0)
        if key not in self._by_target:
            pairs = self.graph.pairs(key)
            order = np.argsort(pairs.dst, kind="stable")
            self._by_target[key] = order, pairs.dst[order]
        order, target = self._by_target[key]
        return order[slice(*np.searchsorted(target, [index, index + 1]))]

    def _add(
        self, neighbours: dict[MessageType, _Neighbours], user_id: str, since: pl.DataFrame
    ) -> int:
        """Add the neighbours that events name; how many of them the graph does not know."""
        unknown = 0
        for edge in self.graph.schema.edges:
            fits = since.filter(type=edge.event, target_type=edge.target)
            forward = MessageType(*edge.key)
            for mine, other, message, at, end in (
                ("actor", "target", forward.reversed, edge.source, edge.target),
                ("target", "actor", forward, edge.target, edge.source),
            ):
                if at != USER:
                    continue
                named = (
                    fits.filter(pl.col(mine) == user_id)
                    .group_by(other, maintain_order=True)
                    .agg(pl.len(), pl.col("timestamp").first().dt.epoch("s"))
                )
                times = named["timestamp"].fill_null(UNKNOWN_TIME).to_numpy()
                ages = self.ages.classes(times) if self.ages else np.full(len(named), UNKNOWN_AGE)
                index, ids = self.graph.index(end), named[other].to_list()
                rows = zip(ids, named["len"].to_list(), ages.tolist(), strict=True)
                known = [(index[i], n, age) for i, n, age in rows if i in index]
                unknown += len(ids) - len(known)
                neighbours[message] = _joined(neighbours[message], known)
        return unknown


def _joined(near: _Neighbours, more: list[tuple[int, int, int]]) -> _Neighbours:
    """Neighbours that are there already get no second edge, and keep their age."""
    if not more:
        return near
    ids, counts, new_ages = np.array(more, np.int64).T
    both = np.union1d(near.sources, ids)
    events, ages = np.zeros(len(both), np.int64), np.zeros(len(both), np.int64)
    ages[np.searchsorted(both, ids)] = new_ages
    events[np.searchsorted(both, near.sources)] = near.events
    events[np.searchsorted(both, ids)] += counts
    ages[np.searchsorted(both, near.sources)] = near.ages
    return _Neighbours(both, events, ages)
