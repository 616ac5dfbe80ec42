"""Edges that grow: a sorted base, a small delta beside it, and now and then the one into the other.

The delta is a linked list for each node, so that an edge is added in constant time and a node's
edges are read without sorting anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ml.contracts.schema import GraphSchema
from ml.graph import growing_kernels as kernels
from ml.graph.adjacency import Adjacency, Relation, SparseRows, relation_of
from ml.graph.growing_array import GrowingArray
from ml.graph.message_types import MessageType, message_types

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

NOTHING = np.empty(0, np.int32)


@dataclass(frozen=True)
class End:
    """The edges of a relation as seen from the nodes at one end.

    Args:
        start: Base edges of node v are ``start[v]`` to ``start[v + 1]``. int64.
        other: Node at the far end of each base edge. int32.
        head: Latest delta edge of each node, or -1. int32.
        link: The delta edge of the same node before each one, or -1. int32.
        far: Node at the far end of each delta edge. int32.
    """

    start: Ints
    other: npt.NDArray[np.int32]
    head: npt.NDArray[np.int32]
    link: npt.NDArray[np.int32]
    far: npt.NDArray[np.int32]

    @property
    def arrays(self) -> tuple[Any, ...]:
        return self.start, self.other, self.head, self.link, self.far

    def rows(self, nodes: Ints) -> SparseRows:
        """Edges of some nodes: row r is ``nodes[r]``; base edges first, then the latest."""
        return SparseRows(*(torch.from_numpy(part) for part in kernels.gather(nodes, *self.arrays)))

    def spread(self, nodes: Ints, weight: Floats, total: Floats) -> int:
        """Add each node's weight to ``total`` of the nodes at the far ends.

        Returns:
            Edges that were followed.
        """
        return int(kernels.spread(nodes, weight, *self.arrays, total))


class GrowingRelation:
    """Distinct edges of one edge type, found from either end.

    Args:
        relation: Sorted edges to begin with.
        sources: Nodes of the source type.
        targets: Nodes of the target type.
    """

    def __init__(self, relation: Relation, sources: int, targets: int) -> None:
        self._take(relation, sources, targets)

    def _take(self, relation: Relation, sources: int, targets: int) -> None:
        self._base = tuple(
            (_dense(rows, size), rows.other.numpy())
            for rows, size in ((relation.by_source, sources), (relation.by_target, targets))
        )
        self._heads = tuple(
            GrowingArray(np.full(size, -1, np.int32), -1) for size in (sources, targets)
        )
        self._links = tuple(GrowingArray(NOTHING.copy()) for _ in range(2))
        self._delta = tuple(GrowingArray(NOTHING.copy()) for _ in range(2))

    @property
    def num_base(self) -> int:
        return len(self._base[0][1])

    @property
    def num_delta(self) -> int:
        return len(self._delta[0])

    @property
    def num_edges(self) -> int:
        return self.num_base + self.num_delta

    @property
    def by_source(self) -> End:
        return self._end(0)

    @property
    def by_target(self) -> End:
        return self._end(1)

    def _end(self, near: int) -> End:
        head, link = self._heads[near].values, self._links[near].values
        return End(*self._base[near], head, link, self._delta[1 - near].values)

    def grow(self, sources: int, targets: int) -> None:
        """Room for new nodes; before edges are added or read."""
        for head, size in zip(self._heads, (sources, targets), strict=True):
            head.grow(size)

    def add(self, source: Ints, target: Ints) -> Bools:
        """Add edges to the delta; those that are there already change nothing.

        Returns:
            Which edges are new: of equal ones the first. Shape: [E].
        """
        before = self.num_delta
        for column in (*self._links, *self._delta):
            column.grow(before + len(source))
        new: Bools = kernels.insert(source, target, before, *self._arrays())
        for column in (*self._links, *self._delta):
            column.shrink(before + int(new.sum()))
        return new

    def has(self, source: Ints, target: Ints) -> Bools:
        """Which edges are there. Shape: [E]."""
        inside: Bools = kernels.contains(source, target, *self._arrays())
        return inside

    def _arrays(self) -> tuple[npt.NDArray[Any], ...]:
        growing = (*self._heads, *self._links, *self._delta)
        return *self._base[0], *(column.values for column in growing)

    def merge(self) -> None:
        """Sort the delta into the base."""
        sources, targets = (len(head) for head in self._heads)
        pairs = torch.from_numpy(self.pairs())
        self._take(relation_of(pairs, sources, targets), sources, targets)

    def pairs(self) -> npt.NDArray[np.int32]:
        """All edges, sources then targets. Shape: [2, E]."""
        start, other = self._base[0]
        nodes = np.arange(len(start) - 1, dtype=np.int32)
        base = np.stack([np.repeat(nodes, np.diff(start)), other])
        return np.concatenate([base, np.stack([d.values for d in self._delta])], axis=1)


class GrowingAdjacency:
    """All edges of a graph that messages travel along, both ways, while they become more.

    Edges keep the age class with which they came.

    Args:
        adjacency: Edges to begin with, of every message type of the schema.
        merge_share: The delta of an edge type is merged once it has more than this share of the
            base's edges, and more than ``merge_least``.

    Attributes:
        relations: By the message type from their sources to their targets.
    """

    def __init__(
        self, schema: GraphSchema, adjacency: Adjacency, *, merge_share: float, merge_least: int
    ) -> None:
        self.merge_share, self.merge_least = merge_share, merge_least
        size, types = adjacency.num_nodes, message_types(schema)
        self.relations = {
            message: GrowingRelation(relation, size[message.source], size[message.target])
            for message, relation in adjacency.relations.items()
            if message.ageless in types and not message.reverse
        }
        self._sizes = dict(size)

    @property
    def num_edges(self) -> int:
        """Directed edges: each pair carries messages both ways."""
        return 2 * sum(relation.num_edges for relation in self.relations.values())

    def grow(self, num_nodes: Mapping[str, int]) -> None:
        """Room for new nodes."""
        self._sizes = dict(num_nodes)
        for message, relation in self.relations.items():
            relation.grow(num_nodes[message.source], num_nodes[message.target])

    def add(self, message: MessageType, source: Ints, target: Ints) -> Bools:
        """Add edges of one age class; those that are there, of whatever age, change nothing.

        Returns:
            Which edges are new: of equal ones the first. Shape: [E].
        """
        if message not in self.relations:
            none = relation_of(torch.empty(2, 0, dtype=torch.long), 0, 0)
            self.relations[message] = GrowingRelation(
                none, self._sizes[message.source], self._sizes[message.target]
            )
        new = np.ones(len(source), np.bool_)
        for other, relation in self.relations.items():
            if other != message and other.ageless == message.ageless:
                new &= ~relation.has(source, target)
        new[new] = self.relations[message].add(source[new], target[new])
        return new

    def merge(self) -> bool:
        """Sort the deltas that have become large into their bases.

        Returns:
            Whether any had.
        """
        large = [
            relation
            for relation in self.relations.values()
            if relation.num_delta > max(self.merge_share * relation.num_base, self.merge_least)
        ]
        for relation in large:
            relation.merge()
        return bool(large)

    def arriving(self, node_type: str, nodes: Ints) -> dict[MessageType, SparseRows]:
        """In-edges of some nodes by message type: row r is ``nodes[r]``."""
        return {
            message: end.rows(nodes)
            for message, end, _ in self._ends()
            if message.target == node_type
        }

    def spread(
        self, weights: Mapping[str, tuple[Ints, Floats]], totals: Mapping[str, Floats]
    ) -> int:
        """Add the weights of some nodes to ``totals`` of all nodes that they send messages to.

        Args:
            weights: Nodes and their weights by node type.
            totals: One value a node by node type; changed in place.

        Returns:
            Edges that were followed.
        """
        return sum(
            end.spread(*weights[message.source], totals[message.target])
            for message, _, end in self._ends()
            if message.source in weights
        )

    def _ends(self) -> Iterator[tuple[MessageType, End, End]]:
        """Each message type, its edges from where they arrive and from where they leave."""
        for message, relation in self.relations.items():
            source, target = relation.by_source, relation.by_target
            yield message, target, source
            yield message.reversed, source, target


def _dense(rows: SparseRows, size: int) -> Ints:
    """Where the edges of every node begin, also of those without. Shape: [size + 1]."""
    start = torch.zeros(size + 1, dtype=torch.long)
    torch.cumsum(rows.degree(size), 0, out=start[1:])
    dense: Ints = start.numpy()
    return dense
