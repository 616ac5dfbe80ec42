"""The model over all nodes, and layer by layer over some of them from what is cached."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ml.graph.adjacency import Adjacency
from ml.graph.growing import GrowingAdjacency
from ml.graph.sampling import Messages
from ml.hgt.encoders import NodeInputs
from ml.hgt.layer import HGTLayer
from ml.hgt.model import HGT
from ml.hgt.nodecache import NodeCache, tensor
from ml.hgt.rows import States, neighbourhood_rows

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

SLICE_ROWS, SLICE_EDGES = 2_048, 200_000
"""What is computed at once: the buffers of its queries and sums stay near the processor."""


@dataclass(frozen=True)
class Pass:
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
def full_pass(model: HGT, inputs: Mapping[str, NodeInputs], adjacency: Adjacency) -> Pass:
    """All states and embeddings from all edges."""
    log_counts = {
        key: relation.by_target.degree(adjacency.num_nodes[key[2]]).float().log1p()
        for key, relation in adjacency.relations.items()
    }
    identity, h_dict = model.inputs(inputs)
    local = model.neighbourhood(identity, Messages(adjacency, log_counts))
    hidden = [h_dict]
    for layer in model.layers:
        hidden.append(layer(hidden[-1], adjacency))
    z = {
        name: model.finish(name, model.output([local[name], *(h[name] for h in hidden)]))
        for name in model.node_types
    }
    return Pass(identity, local, hidden[:-1], z)


class RowPass:
    """Some rows of the model, from cached states of their neighbours.

    Attributes:
        edges: In-edges that were gone through so far.
    """

    def __init__(
        self, model: HGT, caches: Mapping[str, NodeCache], adjacency: GrowingAdjacency
    ) -> None:
        self.model, self.caches, self.adjacency = model, caches, adjacency
        self.layers = [layer for layer in model.layers if isinstance(layer, HGTLayer)]
        self.edges = 0

    @torch.no_grad()
    def local(self, name: str, rows: Ints) -> Floats:
        """What the nodes' own edges say without attention. Shape: [R, hidden]."""
        identity = {other: tensor(cache.identity) for other, cache in self.caches.items()}
        states = States(identity, [])
        own = tensor(self.caches[name].identity)
        found = [
            neighbourhood_rows(self.model, states, own[part], self.adjacency.arriving(name, part))
            for part in self.slices(name, rows)
        ]
        return joined(found, own.size(1))

    @torch.no_grad()
    def state(self, level: int, name: str, rows: Ints) -> Floats:
        """States after ``level`` layers, from those before the last of them. Shape: [R, hidden]."""
        h_dict = {other: tensor(cache.hidden[level - 1]) for other, cache in self.caches.items()}
        return joined(list(self._layer(level, name, rows, h_dict)), h_dict[name].size(1))

    @torch.no_grad()
    def embedding(self, name: str, rows: Ints) -> Floats:
        """Shape: [R, EMBEDDING_DIM]."""
        cache = self.caches[name]
        h_dict = {other: tensor(found.hidden[-1]) for other, found in self.caches.items()}
        known = [tensor(column) for column in (cache.local, *cache.hidden)]
        parts = zip(
            self.slices(name, rows),
            self._layer(len(self.layers), name, rows, h_dict),
            strict=True,
        )
        found = [
            self.model.finish(name, self.model.output([*(h[part] for h in known), last]))
            for part, last in parts
        ]
        return joined(found, cache.z.values.shape[1])

    def _layer(
        self, level: int, name: str, rows: Ints, h_dict: Mapping[str, Tensor]
    ) -> Iterator[Tensor]:
        for part in self.slices(name, rows):
            edges = self.adjacency.arriving(name, part)
            self.edges += sum(found.num_edges for found in edges.values())
            yield self.layers[level - 1].forward_rows(name, h_dict[name][part], h_dict, edges)

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
    found: Floats = torch.cat([torch.empty(0, width), *parts]).numpy()
    return found
