"""Mini-batches: the neighbours that some nodes need, layer by layer, with numbers of their own.

As in GraphSAGE (Hamilton et al., 2017), but a node's draw is a hash of the step and the node: it is
the same for every batch, process and thread that asks for it, so that the embedding of a node does
not depend on who else is in its batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ml.compute.hashing import in_fold, join, permuted_all
from ml.compute.threads import run_pieces
from ml.contracts.schema import EdgeKey
from ml.graph.adjacency import Adjacency, Relation, SparseRows
from ml.graph.ages import Ages
from ml.graph.message_types import UNKNOWN_AGE, MessageType, message_types
from ml.graph.messages import Messages
from ml.graph.sampling_kernels import count_edges, new_nodes, pairs_at, sample_edges
from ml.graph.sorting import counting_sort
from ml.graph.structure import Side, Structure

Array = npt.NDArray[Any]
ALL = 2**31 - 1
"""A fanout that keeps every edge."""
EXACT_COUNT = 4096
"""Up to this degree in-edges outside a fold are counted; above it their number is estimated."""
PIECE = 2048


@dataclass(frozen=True)
class View:
    """Which edges a step sees.

    Args:
        draws: Key of the step: what it samples differs from other steps.
        folding: Key of the epoch: how pairs fall into folds.
        folds: How many there are.
        part: Pairs of this fold carry no messages, either way; -1: all do.
        before: Pairs whose first event is not before this carry no messages; None: all do.
    """

    sampling_key: np.uint64 = np.uint64(0)  # noqa: RUF009
    folding_key: np.uint64 = np.uint64(0)  # noqa: RUF009
    folds: int = 1
    part: int = -1
    before: int | None = None

    @property
    def end(self) -> int:
        """The time that everything in the view is before."""
        return np.iinfo(np.int64).max if self.before is None else self.before

    def part_of(self, side: Side) -> int:
        """The fold that is left out; where times decide, there is none."""
        return -1 if self.before is not None and len(side.time) else self.part


@dataclass(frozen=True)
class SampledEdges:
    """In-edges of some nodes along one message type.

    Args:
        count: How many each of the nodes has. Shape: [T].
        sources: Their other ends, one node's after the other's. Shape: [E].
        age: The age class of each edge; None where ages play no part. Shape: [E].
    """

    count: npt.NDArray[np.int64]
    sources: Array
    age: Array | None

    def by_age(self) -> dict[int, tuple[Array, Array]]:
        """``count`` and ``sources`` of each age class, of those without age in any case."""
        if self.age is None:
            return {UNKNOWN_AGE: (self.count, self.sources)}
        target = np.repeat(np.arange(len(self.count)), self.count)
        parts = {}
        for age in (UNKNOWN_AGE, *np.unique(self.age).tolist()):
            of_age = self.age == age
            count = np.bincount(target[of_age], minlength=len(self.count))
            parts[age] = count, self.sources[of_age]
        return parts


@dataclass(frozen=True)
class Sample:
    """A part of a graph in which the embeddings of its seeds are those of the whole.

    Args:
        nodes: Nodes by type: the seeds as they were given, then what each lower layer needs more,
            ascending. Shapes: [n].
        sizes: For h0, h1, … hL how many of the nodes need it, by type; the last are the seeds.
        hops: Messages of each layer from the lowest: to the first ``sizes[l]`` nodes, from the
            first ``sizes[l - 1]``. Counts are given for the seeds alone, in the last.
    """

    nodes: Mapping[str, Array]
    sizes: Sequence[Mapping[str, int]]
    hops: Sequence[Messages]

    @property
    def num_edges(self) -> int:
        return sum(hop.adjacency.num_edges for hop in self.hops)


class Sampler:
    """Draws from a structure, which may lie on disk; holds 4 bytes a node.

    Args:
        fanouts: At most so many in-edges a message type for the nodes of each layer, from the
            lowest; ``ALL`` for no cap.
        edge_ages: Where classes of ages begin, as in ``Ages``, by which edges are told apart: in a
            view of the past by the age that they had then. Empty: they are not.

    Raises:
        ValueError: on no layer, a fanout below 1, or ages of a structure without times.
    """

    def __init__(
        self, structure: Structure, fanouts: Sequence[int], *, edge_ages: Sequence[float] = ()
    ) -> None:
        if not fanouts or min(fanouts) < 1:
            raise ValueError(f"fanouts are {list(fanouts)}, expected one of at least 1 a layer")
        if edge_ages and structure.latest is None:
            raise ValueError("the structure was made without times, ages need them: timed=True")
        self.structure, self.fanouts = structure, tuple(fanouts)
        self.ages = Ages(tuple(edge_ages), structure.latest or 0) if edge_ages else None
        self.types = message_types(structure.schema)
        self._edge_index = {key: position for position, key in enumerate(structure.links)}

    @cached_property
    def _local(self) -> dict[str, Array]:
        """Number of each node in the sample that is being drawn; -1 for none."""
        return {name: np.full(n, -1, np.int32) for name, n in self.structure.num_nodes.items()}

    def everything(self) -> dict[str, Array]:
        """All nodes as seeds."""
        return {name: np.arange(n) for name, n in self.structure.num_nodes.items()}

    def sample(self, seeds: Mapping[str, Array], view: View) -> Sample:
        """What the embeddings of ``seeds`` need.

        Args:
            seeds: Distinct nodes by type; types may be left out. Shapes: [s].
        """
        names = list(self.structure.num_nodes)
        nodes = {name: np.asarray(seeds.get(name, ()), np.int64) for name in names}
        for name, chosen in nodes.items():
            self._local[name][chosen] = np.arange(len(chosen))
        sizes = [{name: len(chosen) for name, chosen in nodes.items()}]
        counts = {
            message: np.log1p(self.counts(message, nodes[message.target], view))
            for message in self.types
        }
        hops: list[Messages] = []
        for layer in reversed(range(len(self.fanouts))):
            if hops and sizes[-1] == sizes[-2] and self.fanouts[layer] == self.fanouts[layer + 1]:
                hops.append(hops[-1])  # the same nodes, draws and numbers
                sizes.append(sizes[-1])
                continue
            sampled = {
                message: self._sample_edges(
                    message, nodes[message.target], view, self.fanouts[layer]
                )
                for message in self.types
            }
            for name in names:
                neighbours = [
                    edges.sources for message, edges in sampled.items() if message.source == name
                ]
                nodes[name] = self._extend(name, nodes[name], neighbours)
            sizes.append({name: len(chosen) for name, chosen in nodes.items()})
            hops.append(self._messages(sampled, sizes[-1], {} if hops else counts))
        for name, chosen in nodes.items():
            self._local[name][chosen] = -1
        return Sample(nodes, sizes[::-1], hops[::-1])

    def counts(self, message: MessageType, targets: Array, view: View) -> npt.NDArray[np.float32]:
        """In-edges of ``targets`` in the view before any cap. Shape: [T]."""
        side = self.structure.incoming(message, early=view.before is not None)
        count = np.empty(len(targets), np.float32)
        arrays = (
            targets, side.start, side.other, side.time, view.end, message.reverse,
            view.part_of(side), view.folds, self.fold_key(message.edge_key, view), EXACT_COUNT,
            count,
        )  # fmt: skip
        _in_pieces(lambda low, high, _: count_edges(low, high, *arrays), len(targets))
        return count

    def fold_key(self, key: EdgeKey, view: View) -> np.uint64:
        """Key of the folds of an edge type."""
        return np.uint64(join(view.folding_key, self._edge_index[key]))

    def supervised(self, key: EdgeKey, low: int, high: int, view: View, *, shuffle: bool) -> Array:
        """Pairs of the fold of a view at ``low`` to ``high`` of the epoch's random order.

        Shape: [2, B], B about ``(high - low) / folds``.
        """
        side = self.structure.links[key].by_source
        fold_key = self.fold_key(key, view)
        indices = np.arange(low, high)
        if shuffle:
            indices = permuted_all(indices, len(side.other), np.uint64(join(fold_key, ALL)))
        pairs = np.stack(pairs_at(side.start, side.other, indices))
        return pairs[:, in_fold(*pairs, view.part, view.folds, fold_key)]

    def _sample_edges(
        self, message: MessageType, targets: Array, view: View, fanout: int
    ) -> SampledEdges:
        early = view.before is not None or self.ages is not None
        side = self.structure.incoming(message, early=early)
        capacity = np.minimum(side.start[targets + 1] - side.start[targets], fanout)
        offset = np.cumsum(capacity) - capacity
        sources = np.empty(int(capacity.sum()), np.int32)
        count = np.empty(len(targets), np.int64)
        timed = self.ages is not None and len(side.time)
        first_time = np.empty(len(sources) if timed else 0, np.int64)
        sampling_key = np.uint64(join(view.sampling_key, self.types.index(message)))
        arrays = (
            targets, side.start, side.other, side.time, view.end, message.reverse,
            view.part_of(side), view.folds, self.fold_key(message.edge_key, view), sampling_key,
            fanout, offset, sources, count, first_time,
        )  # fmt: skip
        _in_pieces(lambda low, high, _: sample_edges(low, high, *arrays), len(targets))
        filled: Array | slice = slice(None)
        if count.sum() < len(sources):
            position = np.arange(len(sources)) - np.repeat(offset, capacity)
            filled = position < np.repeat(count, capacity)
        if self.ages is None or not timed:
            return SampledEdges(count, sources[filled], None)
        age = self.ages.classes(first_time[filled], view.before)
        return SampledEdges(count, sources[filled], age)

    def _extend(self, name: str, nodes: Array, neighbours: list[Array]) -> Array:
        """The nodes, then those among ``neighbours`` that are new, which get the next numbers."""
        local, parts = self._local[name], [nodes]
        if len(nodes) == len(local):
            return nodes
        for edges in neighbours:
            new = np.empty(len(edges), np.int64)
            parts.append(new[: new_nodes(edges, local, new)])
        new = np.sort(np.concatenate([np.empty(0, np.int64), *parts[1:]]))
        local[new] = np.arange(len(nodes), len(nodes) + len(new))
        return np.concatenate([nodes, new])

    def _messages(
        self,
        sampled: Mapping[MessageType, SampledEdges],
        sizes: Mapping[str, int],
        counts: Mapping[MessageType, Array],
    ) -> Messages:
        relations, log_counts = {}, {}
        for message, edges in sampled.items():
            for age, (count, nodes) in edges.by_age().items():
                sources = self._local[message.source][nodes]
                relations[message.of_age(age)] = _relation(count, sources, sizes[message.source])
            log_count = torch.zeros(sizes[message.target])
            if message in counts:
                log_count[: len(counts[message])] = torch.from_numpy(counts[message])
            log_counts[message] = log_count
        return Messages(Adjacency(dict(sizes), relations), log_counts)


def _relation(count: Array, source: Array, num_sources: int) -> Relation:
    """Edges of targets 0, 1, …, of which each has the next ``count``."""
    index = np.flatnonzero(count).astype(np.int32)
    start = np.zeros(len(index) + 1, np.int64)
    np.cumsum(count[index], out=start[1:])
    target = np.repeat(index, count[index])
    by_source = counting_sort(source, target, num_sources)
    return Relation(
        SparseRows(torch.from_numpy(index), torch.from_numpy(start), torch.from_numpy(source)),
        SparseRows(*(torch.from_numpy(part) for part in by_source)),
    )


def _in_pieces(work: Callable[[int, int, int], None], size: int) -> None:
    run_pieces(work, np.linspace(0, size, max(1, size // PIECE) + 1).astype(np.int64))
