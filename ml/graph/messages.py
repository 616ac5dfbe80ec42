"""Pairs to messages: both directions, and how many each node receives."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml.contracts.schema import EdgeKey, GraphSchema
from ml.graph.adjacency import Adjacency, PairDict, pair_adjacency
from ml.graph.ages import UNKNOWN, Ages, aged
from ml.graph.graph import Graph, message_types
from ml.graph.structure import first_times


@dataclass(frozen=True)
class Messages:
    """What travels in one pass over the graph.

    Args:
        adjacency: Edges of every message type.
        log_counts: log(1 + in-degree) of each node by message type, before any cap. Shapes: [n].
    """

    adjacency: Adjacency
    log_counts: Mapping[EdgeKey, Tensor]


def pair_tensors(
    graph: Graph, device: str | torch.device = "cpu", *, ages: Ages | None = None
) -> dict[EdgeKey, Tensor]:
    """Distinct pairs of each edge type as tensors.

    With ``ages``, those of each age class that occurs, and in any case those without a time.
    """
    found = {}
    for edge in graph.schema.edges:
        pairs = graph.pairs(edge.key)
        both = np.stack([pairs.src, pairs.dst])
        time = None if ages is None else first_times(graph, edge.key)
        found[edge.key] = both
        if ages is not None and time is not None:
            classes = ages.classes(time)
            for age in sorted({UNKNOWN, *np.unique(classes).tolist()}):
                found[aged(edge.key, age)] = both[:, classes == age]
    return {key: torch.from_numpy(own).to(device) for key, own in found.items()}


def build_messages(schema: GraphSchema, num_nodes: Mapping[str, int], pairs: PairDict) -> Messages:
    """Messages along all of ``pairs`` and back; ``ml.graph.sampler`` draws some of them."""
    return all_messages(message_types(schema), pair_adjacency(num_nodes, pairs))


def all_messages(types: Iterable[EdgeKey], adjacency: Adjacency) -> Messages:
    """Messages along all edges.

    Args:
        types: All message types, without ages.
    """
    log_counts = {key: adjacency.degree(key).float().log1p() for key in types}
    return Messages(adjacency, log_counts)
