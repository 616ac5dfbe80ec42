"""Pairs to messages: both directions, how many each node receives, and a cap while training."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml.data.schema import EdgeKey, GraphSchema
from ml.graph.adjacency import Adjacency, PairDict, build_adjacency, pair_adjacency
from ml.graph.graph import Graph, message_types, reverse


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


def build_messages(
    schema: GraphSchema,
    num_nodes: Mapping[str, int],
    pairs: PairDict,
    *,
    fanout: int | None = None,
    generator: torch.Generator | None = None,
) -> Messages:
    """Messages along ``pairs`` and back.

    Args:
        fanout: At most so many random edges of one type into one node; None for all. A cap is
            for training steps: states that are kept must come from all edges.
        generator: Where the random edges come from; needed with ``fanout``.
    """
    types = message_types(schema)
    both = {edge.key: pairs[edge.key] for edge in schema.edges}
    both |= {reverse(key): pairs[key].flip(0) for key in list(both)}
    log_counts = {
        key: torch.bincount(both[key][1], minlength=num_nodes[key[2]]).float().log1p()
        for key in types
    }
    if fanout is None:
        return Messages(pair_adjacency(schema, num_nodes, pairs), log_counts)
    if generator is None:
        raise ValueError("a fanout needs a generator to draw from")
    capped = {key: cap_fanout(both[key], fanout, generator) for key in types}
    return Messages(build_adjacency(num_nodes, capped), log_counts)


def cap_fanout(edge_index: Tensor, fanout: int, generator: torch.Generator) -> Tensor:
    """Keep at most ``fanout`` random edges into each target node.

    Shapes: [2, E] → [2, E'], sorted by target.
    """
    if edge_index.size(1) == 0:
        return edge_index
    device = edge_index.device
    shuffled = torch.randperm(edge_index.size(1), generator=generator).to(device)
    order = shuffled[torch.argsort(edge_index[1, shuffled], stable=True)]
    dst = edge_index[1, order]
    place = torch.arange(len(dst), device=device)
    first = torch.ones(len(dst), dtype=torch.bool, device=device)
    first[1:] = dst[1:] != dst[:-1]
    start = torch.cummax(torch.where(first, place, torch.zeros_like(place)), 0).values
    return edge_index[:, order[place - start < fanout]]
