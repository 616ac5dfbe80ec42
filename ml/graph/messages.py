"""Pairs to messages: both directions, and how many each node receives."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml.contracts.schema import GraphSchema
from ml.graph.adjacency import Adjacency, PairDict, pair_adjacency
from ml.graph.ages import Ages
from ml.graph.graph import Graph
from ml.graph.message_types import UNKNOWN_AGE, MessageType, message_types
from ml.graph.structure import first_times


@dataclass(frozen=True)
class Messages:
    """What travels in one pass over the graph.

    Args:
        adjacency: Edges of every message type.
        log_counts: log(1 + in-degree) of each node by message type, before any cap. Shapes: [n].
    """

    adjacency: Adjacency
    log_counts: Mapping[MessageType, Tensor]


def pair_tensors(
    graph: Graph, device: str | torch.device = "cpu", *, ages: Ages | None = None
) -> dict[MessageType, Tensor]:
    """Distinct pairs of each edge type as tensors, by the message type along them.

    With ``ages``, those of each age class that occurs, and in any case those without a time.
    """
    indices = {}
    for edge in graph.schema.edges:
        pairs = graph.pairs(edge.key)
        both = np.stack([pairs.src, pairs.dst])
        time = None if ages is None else first_times(graph, edge.key)
        message = MessageType(*edge.key)
        indices[message] = both
        if ages is not None and time is not None:
            classes = ages.classes(time)
            for age in sorted({UNKNOWN_AGE, *np.unique(classes).tolist()}):
                indices[message.of_age(age)] = both[:, classes == age]
    return {message: torch.from_numpy(own).to(device) for message, own in indices.items()}


def build_messages(schema: GraphSchema, num_nodes: Mapping[str, int], pairs: PairDict) -> Messages:
    """Messages along all of ``pairs`` and back; ``ml.graph.sampler`` draws some of them."""
    return all_messages(message_types(schema), pair_adjacency(num_nodes, pairs))


def all_messages(types: Iterable[MessageType], adjacency: Adjacency) -> Messages:
    """Messages along all edges.

    Args:
        types: All message types, without ages.
    """
    log_counts = {message: adjacency.degree(message).float().log1p() for message in types}
    return Messages(adjacency, log_counts)
