"""The model over all nodes, and layer by layer over some of them from what is cached."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ml.graph.adjacency import Adjacency, SparseRows
from ml.graph.growing import GrowingAdjacency
from ml.graph.message_types import MessageSender, MessageType
from ml.graph.messages import all_messages
from ml.hgt.encoders import NodeInputs
from ml.hgt.layer import HGTLayer
from ml.hgt.model import EMBEDDING_DIM, HGT
from ml.hgt.row_embedding import NodeStates, neighbourhood_rows
from ml.incremental.node_cache import NodeCache, tensor

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

SLICE_ROWS, SLICE_EDGES = 2_048, 200_000
"""What is computed at once: the buffers of its queries and sums stay near the processor."""

ROW_EDGES, NODE_EDGES = 100, 20
"""What a row costs more, and the key and value of a node, in edges; from multiplications."""


@dataclass(frozen=True)
class FullPass:
    """Everything that a pass computes of every node, by node type.

    Args:
        identity, local: Shapes: [n, hidden].
        hidden: States before each layer. Shapes: [n, hidden].
        z: Embeddings. Shapes: [n, EMBEDDING_DIM].
    """

    identity: Mapping[str, Tensor]
    local: Mapping[str, Tensor]
    hidden: Sequence[Mapping[str, Tensor]]
    z: Mapping[str, Tensor]


@torch.no_grad()
def full_pass(model: HGT, inputs: Mapping[str, NodeInputs], adjacency: Adjacency) -> FullPass:
    """All states and embeddings from all edges."""
    identity, h_dict = model.input_states(inputs)
    local = model.neighbourhood(identity, all_messages(model.message_types, adjacency))
    hidden = [h_dict]
    for layer in model.layers:
        hidden.append(layer(hidden[-1], adjacency))
    z = {
        name: model.finish(name, model.output([local[name], *(h[name] for h in hidden)]))
        for name in model.node_types
    }
    return FullPass(identity, local, hidden[:-1], z)


class Recomputation:
    """Some rows of the model, from cached states of their neighbours; for one batch or refresh.

    Attributes:
        edges: In-edges that were gone through so far.
    """

    def __init__(
        self, model: HGT, caches: Mapping[str, NodeCache], adjacency: GrowingAdjacency
    ) -> None:
        self.model, self.caches, self.adjacency = model, caches, adjacency
        self.layers = [layer for layer in model.layers if isinstance(layer, HGTLayer)]
        self.edges = 0
        self._tables: dict[int, dict[MessageSender, Tensor]] = {}

    @torch.no_grad()
    def local(self, name: str, rows: Ints) -> Floats:
        """What the nodes' own edges say without attention. Shape: [R, hidden]."""
        identity = {other: tensor(cache.identity) for other, cache in self.caches.items()}
        states = NodeStates(identity, [])
        own = tensor(self.caches[name].identity)
        parts = [
            neighbourhood_rows(
                self.model, states, own[torch.from_numpy(part)], self.adjacency.arriving(name, part)
            )
            for part in self.slices(name, rows)
        ]
        return joined(parts, own.size(1))

    @torch.no_grad()
    def state(self, level: int, name: str, rows: Ints) -> Floats:
        """States after ``level`` layers, from those before the last of them. Shape: [R, hidden]."""
        parts = [h for _, h in self._layer(level, name, rows)]
        return joined(parts, self.model.config.hidden)

    @torch.no_grad()
    def embedding(self, name: str, rows: Ints) -> Floats:
        """Shape: [R, EMBEDDING_DIM]."""
        cache = self.caches[name]
        columns = [tensor(column) for column in (cache.local, *cache.hidden)]
        parts = [
            self.model.finish(name, self.model.output([*(h[part] for h in columns), last]))
            for part, last in self._layer(len(self.layers), name, rows)
        ]
        return joined(parts, EMBEDDING_DIM)

    def _layer(self, level: int, name: str, rows: Ints) -> Iterator[tuple[Tensor, Tensor]]:
        """Nodes in pieces, and their states after one more layer."""
        layer = self.layers[level - 1]
        h_dict = {other: tensor(cache.hidden[level - 1]) for other, cache in self.caches.items()}
        if level not in self._tables and self._many(name, rows):
            self._tables[level] = layer.project_sources(h_dict)
        for part in self.slices(name, rows):
            edges = self.adjacency.arriving(name, part)
            self.count(edges)
            own = torch.from_numpy(part)
            yield (
                own,
                layer.forward_rows(
                    name, h_dict[name][own], h_dict, edges, tables=self._tables.get(level)
                ),
            )

    def _many(self, name: str, rows: Ints) -> bool:
        """Whether keys and values of all nodes are less work than doing without them."""
        edges = int(self.caches[name].degree.values[rows].sum())
        nodes = sum(len(cache) for cache in self.caches.values())
        return edges + ROW_EDGES * len(rows) > NODE_EDGES * nodes

    def count(self, edges: Mapping[MessageType, SparseRows]) -> None:
        """These in-edges are gone through."""
        self.edges += sum(rows.num_edges for rows in edges.values())

    def slices(self, name: str, rows: Ints) -> Iterator[Ints]:
        """The rows in pieces of bounded size; one with too many edges is alone."""
        degree = self.caches[name].degree.values
        first = 0
        while first < len(rows):
            ahead = rows[first : first + SLICE_ROWS]
            fits = np.searchsorted(np.cumsum(degree[ahead]), SLICE_EDGES, side="right")
            size = max(int(fits), 1)
            yield ahead[:size]
            first += size


def joined(parts: Sequence[Tensor], width: int) -> Floats:
    """Rows of all parts, which may be none. Shape: [R, width]."""
    whole: Floats = torch.cat([torch.empty(0, width), *parts]).numpy()
    return whole
