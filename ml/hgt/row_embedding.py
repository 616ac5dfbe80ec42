"""Embeddings of some rows of one node type from cached states: real nodes, or counterfactual ones.

The states of the neighbours are taken as they are. For nodes whose neighbours' states are up to
date the result is that of a full pass; for a counterfactual row, with other edges or features than
any node has, it is what the node would be if its neighbours stayed as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

from ml.graph.adjacency import SparseRows, total
from ml.graph.graph import Graph
from ml.graph.message_types import MessageType, of_any_age
from ml.graph.messages import build_messages, pair_tensors
from ml.hgt.attention.neighbour_sums import sum_rows
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.layer import HGTLayer
from ml.hgt.model import HGT, graph_inputs


@dataclass(frozen=True)
class RowEdges:
    """In-edges of R rows of one node type, by message type that ends there.

    Args:
        start: The edges of row r are ``start[r]`` to ``start[r + 1]``. Shapes: [R + 1].
        source: Node of the source type at the other end. Shapes: [E].
    """

    start: Mapping[MessageType, Tensor]
    source: Mapping[MessageType, Tensor]

    def rows(self) -> dict[MessageType, SparseRows]:
        """As the layers read them, without empty rows."""
        rows = {}
        for message, start in self.start.items():
            index = torch.nonzero(start.diff()).flatten()
            bounds = torch.cat([start[:1], start[1:][index]])
            rows[message] = SparseRows(index.int(), bounds.long(), self.source[message].int())
        return rows


@dataclass(frozen=True)
class NodeStates:
    """What is kept of all nodes to compute rows anew.

    Args:
        identity: Who each node is, as neighbours see it. Shapes: [n, hidden].
        hidden: States before each layer; the first are those of the inputs. Shapes: [n, hidden].
    """

    identity: Mapping[str, Tensor]
    hidden: Sequence[Mapping[str, Tensor]]


@torch.no_grad()
def full_states(
    model: HGT, encoder: FeatureEncoder, graph: Graph, *, now: int | None = None
) -> NodeStates:
    """States of every node of a graph, by one pass over all of its edges.

    Args:
        now: See ``ml.hgt.model.embed``.
    """
    device = next(model.parameters()).device
    pairs = pair_tensors(graph, device, ages=model.ages(graph.latest() if now is None else now))
    messages = build_messages(graph.schema, graph.num_nodes, pairs)
    identity, h_dict = model.input_states(graph_inputs(encoder, graph, device))
    hidden = [h_dict]
    for layer in list(model.layers)[:-1]:
        h_dict = layer(h_dict, messages.adjacency)
        hidden.append(h_dict)
    return NodeStates(identity, hidden)


@torch.no_grad()
def input_rows(
    model: HGT, encoder: FeatureEncoder, node_type: str, features: pl.DataFrame, ids: Sequence[str]
) -> Tensor:
    """First states of nodes from their features and ids. Shape: [R, hidden]."""
    device = next(model.parameters()).device
    inputs = encoder.transform(node_type, features, ids).to(device)
    _, h_dict = model.input_states({node_type: inputs})
    return h_dict[node_type]


@torch.no_grad()
def embed_rows(
    model: HGT, states: NodeStates, node_type: str, h0: Tensor, edges: RowEdges
) -> Tensor:
    """Embeddings of rows with their own first states and in-edges.

    Args:
        states: Of the neighbours.
        h0: Shape: [R, hidden].

    Shapes: [R, EMBEDDING_DIM].
    """
    rows = edges.rows()
    own = [neighbourhood_rows(model, states, h0, rows), h0]
    for layer, h_dict in zip(model.layers, states.hidden, strict=True):
        assert isinstance(layer, HGTLayer)
        own.append(layer.forward_rows(node_type, own[-1], h_dict, rows))
    return model.finish(node_type, model.output(own))


def neighbourhood_rows(
    model: HGT, states: NodeStates, like: Tensor, rows: Mapping[MessageType, SparseRows]
) -> Tensor:
    """What the rows' own edges say without attention. Shape: as ``like``, [R, hidden]."""
    out = torch.zeros_like(like)
    for message in model.message_types:
        if parts := of_any_age(rows, message):
            identity, size = states.identity[message.source], len(like)
            degree = total([part.degree(size) for part in parts])
            summed = total([sum_rows(identity, part, size) for part in parts])
            log_count = degree.to(like.dtype).log1p()
            out = out + model.neighbourhood.part(message, summed, degree, log_count)
    return out
