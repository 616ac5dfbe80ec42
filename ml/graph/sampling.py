"""Pairs to messages: both directions, how many each node receives, and a cap while training."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml.data.schema import EdgeKey, GraphSchema
from ml.graph.graph import Graph, message_types, reverse

PairDict = Mapping[EdgeKey, Tensor]
"""Distinct pairs by edge type of the schema. Shapes: [2, P]."""


@dataclass(frozen=True)
class Messages:
    """What travels in one pass over the graph.

    Args:
        edge_index_dict: Edges by message type, in the order of ``message_types``. Shapes: [2, E].
        degree_dict: log(1 + in-degree) of each node, a column for each message type that arrives
            there, counted before any cap. Shapes: [n, types].
    """

    edge_index_dict: dict[EdgeKey, Tensor]
    degree_dict: dict[str, Tensor]


def pair_tensors(graph: Graph, device: str | torch.device = "cpu") -> dict[EdgeKey, Tensor]:
    """Distinct pairs of each edge type as tensors."""
    found = {edge.key: graph.pairs(edge.key) for edge in graph.schema.edges}
    return {
        key: torch.from_numpy(np.stack([pairs.src, pairs.dst])).to(device)
        for key, pairs in found.items()
    }


def arriving_types(schema: GraphSchema, node_type: str) -> list[EdgeKey]:
    """Message types that end at a node type."""
    return [key for key in message_types(schema) if key[2] == node_type]


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
    both = {key: pairs[key] for key in (edge.key for edge in schema.edges)}
    both |= {reverse(key): pairs[key].flip(0) for key in list(both)}
    degree_dict = {}
    for node in schema.nodes:
        size = num_nodes[node.name]
        columns = [
            torch.bincount(both[key][1], minlength=size).to(torch.float32).log1p()
            for key in arriving_types(schema, node.name)
        ]
        device = next(iter(pairs.values())).device if pairs else None
        degree_dict[node.name] = (
            torch.stack(columns, 1) if columns else torch.zeros(size, 0, device=device)
        )
    if fanout is not None:
        if generator is None:
            raise ValueError("a fanout needs a generator to draw from")
        both = {key: cap_fanout(edge, fanout, generator) for key, edge in both.items()}
    return Messages({key: both[key] for key in message_types(schema)}, degree_dict)


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
