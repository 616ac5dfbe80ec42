"""Embeddings of some nodes from a sample of the graph around them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml.compute.threads import run_pieces
from ml.graph.messages import Messages
from ml.graph.sampler import Sample
from ml.graph.sampling_kernels import mark_neighbours
from ml.graph.structure import Side
from ml.hgt.encoders import NodeInputs
from ml.hgt.model import HGT


def seed_outputs(model: HGT, inputs: Mapping[str, NodeInputs], sample: Sample) -> dict[str, Tensor]:
    """``HGT.outputs`` of the seeds of a sample, computed with no more rows than they need.

    Args:
        inputs: Of ``sample.nodes``.

    Shapes: [seeds, EMBEDDING_DIM].
    """
    seeds, around = sample.sizes[-1], sample.hops[-1]
    identity_dict, h_dict = model.input_states(inputs)
    near = _first(identity_dict, around.adjacency.num_nodes)
    states = [_first(model.neighbourhood(near, around), seeds), _first(h_dict, seeds)]
    for layer, hop in zip(model.layers, sample.hops, strict=True):
        h_dict = layer(_first(h_dict, hop.adjacency.num_nodes), hop.adjacency)
        states.append(_first(h_dict, seeds))
    return {name: model.output([h[name] for h in states]) for name in model.node_types}


def _first(rows: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return {name: table[: sizes[name]] for name, table in rows.items()}


def on_device(hops: Sequence[Messages], device: str) -> list[Messages]:
    """Messages of each layer on a device; one that serves two layers is moved once."""
    moved: dict[int, Messages] = {}
    for hop in hops:
        if id(hop) not in moved:
            counts = {key: count.to(device) for key, count in hop.log_counts.items()}
            moved[id(hop)] = Messages(hop.adjacency.to(device), counts)
    return [moved[id(hop)] for hop in hops]


@dataclass(frozen=True)
class KnownPairs:
    """The known pairs of an edge type from one end, for nodes with numbers of a batch.

    Args:
        side: Neighbours in the whole graph.
        nodes: Node of each number at this end. Shape: [n].
        others: Node of each number at the other end, ascending. Shape: [m].
    """

    side: Side
    nodes: np.ndarray[tuple[int], np.dtype[np.int64]]
    others: np.ndarray[tuple[int], np.dtype[np.int64]]

    def mask(self, nodes: Tensor, candidates: Tensor) -> Tensor:
        """See ``ml.hgt.training.losses.KnownPositives``."""
        # A product is asked for by many pairs of a batch: each node once.
        unique, inverse = torch.unique(nodes, return_inverse=True)
        rows, columns = self.nodes[unique.cpu().numpy()], self.others[candidates.cpu().numpy()]
        known = np.zeros((len(rows), len(columns)), np.bool_)
        arrays = (rows, self.side.start, self.side.other, columns, known)
        bounds = np.linspace(0, len(rows), max(1, len(rows) // 256) + 1).astype(np.int64)
        run_pieces(lambda low, high, _: mark_neighbours(low, high, *arrays), bounds)
        return torch.from_numpy(known).to(nodes.device).index_select(0, inverse)
