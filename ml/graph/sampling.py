"""Pairs to messages: both directions, and how many each node receives."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml.data.schema import EdgeKey, GraphSchema
from ml.graph.adjacency import Adjacency, PairDict, pair_adjacency
from ml.graph.graph import Graph


@dataclass(frozen=True)
class Messages:
    """What travels in one pass over the graph.

    Args:
        adjacency: Edges of every message type.
        log_counts: log(1 + in-degree) of each node by message type, before any cap. Shapes: [n].
    """

    adjacency: Adjacency
    log_counts: Mapping[EdgeKey, Tensor]


def pair_tensors(graph: Graph, device: str | torch.device = "cpu") -> dict[EdgeKey, Tensor]:
    """Distinct pairs of each edge type as tensors."""
    found = {edge.key: graph.pairs(edge.key) for edge in graph.schema.edges}
    return {
        key: torch.from_numpy(np.stack([pairs.src, pairs.dst])).to(device)
        for key, pairs in found.items()
    }


def build_messages(schema: GraphSchema, num_nodes: Mapping[str, int], pairs: PairDict) -> Messages:
    """Messages along all of ``pairs`` and back; ``ml.graph.sampler`` draws some of them."""
    adjacency = pair_adjacency(schema, num_nodes, pairs)
    log_counts = {
        key: relation.by_target.degree(num_nodes[key[2]]).float().log1p()
        for key, relation in adjacency.relations.items()
    }
    return Messages(adjacency, log_counts)
