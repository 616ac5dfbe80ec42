"""Edges sorted for message passing: by target to gather messages, by source to gather gradients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ml.graph.message_types import MessageType, names, of_any_age

MAX_NODES = 2**31 - 1

PairDict = Mapping[MessageType, Tensor]
"""Distinct pairs, by the message type from their sources to their targets. Shapes: [2, P]."""


@dataclass(frozen=True)
class SparseRows:
    """Edges grouped by the node at one end (compressed sparse rows without the empty ones).

    Args:
        index: Nodes that have edges, ascending. int32, shape: [R].
        start: Edges of ``index[r]`` are ``start[r]`` to ``start[r + 1]``. int64, shape: [R + 1].
        other: Node at the other end of each edge. int32, shape: [E].
    """

    index: Tensor
    start: Tensor
    other: Tensor

    def __len__(self) -> int:
        return len(self.index)

    @property
    def num_edges(self) -> int:
        return len(self.other)

    def to(self, device: str | torch.device) -> "SparseRows":
        return SparseRows(self.index.to(device), self.start.to(device), self.other.to(device))

    @classmethod
    def group(cls, node: Tensor, other: Tensor, num_nodes: int) -> "SparseRows":
        """Group edges by ``node``; edges of one node keep their order.

        Args:
            node: In [0, num_nodes). Shape: [E].
            other: Shape: [E].
        """
        if node.device.type == "cpu":
            from ml.graph.sorting import counting_sort

            sorted_by_node = counting_sort(node.numpy(), other.numpy(), num_nodes)
            return cls(*(torch.from_numpy(part) for part in sorted_by_node))
        order = torch.argsort(node, stable=True)
        index, count = torch.unique_consecutive(node[order], return_counts=True)
        start = torch.zeros(len(index) + 1, dtype=torch.long, device=node.device)
        torch.cumsum(count, 0, out=start[1:])
        return cls(index.int(), start, other[order].int())

    def degree(self, num_nodes: int) -> Tensor:
        """Edges of every node. Shape: [num_nodes]."""
        degree = self.start.new_zeros(num_nodes)
        return degree.index_copy_(0, self.index.long(), self.start.diff())

    def nodes(self) -> Tensor:
        """The row's node of each edge. Shape: [E]."""
        return torch.repeat_interleave(self.index, self.start.diff())


@dataclass(frozen=True)
class Relation:
    """Edges of one message type, grouped by either end.

    Args:
        by_target: ``other`` are sources, ascending for each target.
        by_source: ``other`` are targets, ascending for each source.
    """

    by_target: SparseRows
    by_source: SparseRows

    @property
    def reversed(self) -> "Relation":
        """The same edges the other way; shares the tensors."""
        return Relation(self.by_source, self.by_target)

    def to(self, device: str | torch.device) -> "Relation":
        return Relation(self.by_target.to(device), self.by_source.to(device))


@dataclass(frozen=True)
class Adjacency:
    """All edges of a graph that messages travel along.

    Args:
        num_nodes: Nodes by node type.
        relations: By message type, each age apart; the order does not matter.
    """

    num_nodes: Mapping[str, int]
    relations: Mapping[MessageType, Relation]

    @property
    def num_edges(self) -> int:
        return sum(relation.by_target.num_edges for relation in self.relations.values())

    def of(self, message: MessageType) -> list[Relation]:
        """The edges of a message type, one relation for each age class; at least one."""
        relations = of_any_age(self.relations, message)
        if not relations:
            expected = names(list(self.relations))
            raise KeyError(f"no message type {message}, expected one of {expected}")
        return relations

    def degree(self, message: MessageType) -> Tensor:
        """In-edges of every node along a message type, whatever their age. Shape: [n]."""
        size = self.num_nodes[message.target]
        return total([relation.by_target.degree(size) for relation in self.of(message)])

    def to(self, device: str | torch.device) -> "Adjacency":
        moved = {message: relation.to(device) for message, relation in self.relations.items()}
        return Adjacency(self.num_nodes, moved)


def total(parts: Sequence[Tensor]) -> Tensor:
    """The sum of tensors of one shape, of which there is one at least."""
    return parts[0] if len(parts) == 1 else torch.stack(list(parts)).sum(0)


def relation_of(edge_index: Tensor, num_sources: int, num_targets: int) -> Relation:
    """Sort the edges of one message type.

    Args:
        edge_index: Sources, then targets, in any order; an edge may occur twice. Shape: [2, E].

    Raises:
        ValueError: if an edge names a node that is not there.
    """
    source, target = edge_index
    if edge_index.numel():
        low = int(edge_index.min())
        high, last = int(source.max()), int(target.max())
        if low < 0 or high >= num_sources or last >= num_targets:
            raise ValueError(
                f"edges name sources {low} to {high} and targets up to {last}, "
                f"expected 0 to {num_sources - 1} and 0 to {num_targets - 1}"
            )
    if max(num_sources, num_targets) > MAX_NODES:
        raise ValueError(f"a node type has more than {MAX_NODES} nodes: split the graph")
    if bool((source[1:] < source[:-1]).any()):
        first = SparseRows.group(source, target, num_sources)
        source, target = first.nodes(), first.other
    by_target = SparseRows.group(target, source, num_targets)
    return Relation(by_target, SparseRows.group(by_target.other, by_target.nodes(), num_sources))


def build_adjacency(
    num_nodes: Mapping[str, int], edge_index_dict: Mapping[MessageType, Tensor]
) -> Adjacency:
    """Sort the edges of every message type.

    Args:
        edge_index_dict: Edges by message type, in any order. Shapes: [2, E].
    """
    relations = {
        message: relation_of(edge_index, num_nodes[message.source], num_nodes[message.target])
        for message, edge_index in edge_index_dict.items()
    }
    return Adjacency(dict(num_nodes), relations)


def pair_adjacency(num_nodes: Mapping[str, int], pairs: PairDict) -> Adjacency:
    """Messages along ``pairs`` and back; both directions share their memory.

    Args:
        pairs: As of ``ml.graph.messages.pair_tensors``.
    """
    there = build_adjacency(num_nodes, pairs).relations
    back = {message.reversed: relation.reversed for message, relation in there.items()}
    return Adjacency(dict(num_nodes), {**there, **back})
