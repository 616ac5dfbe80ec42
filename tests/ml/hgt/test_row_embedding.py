"""Rows computed from cached states equal those of a full pass."""

import numpy as np
import pytest
import torch
from drawn import events_frame

from ml.graph.graph import build_graph
from ml.graph.message_types import MessageType
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.model import ModelConfig, build_model, embed
from ml.hgt.row_embedding import RowEdges, embed_rows, full_states, input_rows


@pytest.fixture
def graph(tables):
    return build_graph(tables).append(events_frame([("call", "bob", "bob", "user", 10)]))


@pytest.fixture
def served(graph):
    encoder = FeatureEncoder.fit(graph.schema, graph.features, graph.node_ids)
    model = build_model(encoder, ModelConfig(layers=3), seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.eval(), encoder


def arriving(graph, node_type) -> RowEdges:
    """In-edges of every node of a type, the slow way."""
    pairs: dict[MessageType, tuple[np.ndarray, np.ndarray]] = {}
    for edge in graph.schema.edges:
        there = graph.pairs(edge.key)
        message = MessageType(*edge.key)
        pairs[message] = there.src, there.dst
        pairs[message.reversed] = there.dst, there.src
    start, source = {}, {}
    for message, (src, dst) in pairs.items():
        if message.target == node_type:
            lists = [src[dst == node] for node in range(graph.num_nodes[node_type])]
            sizes = [0, *np.cumsum([len(found) for found in lists]).tolist()]
            start[message] = torch.tensor(sizes)
            source[message] = torch.from_numpy(np.concatenate(lists))
    return RowEdges(start, source)


@pytest.mark.parametrize("node_type", ["user", "product", "app"])
def test_rows_from_cached_states_are_those_of_a_full_pass(graph, served, node_type):
    model, encoder = served
    states = full_states(model, encoder, graph)
    h0 = input_rows(model, encoder, node_type, graph.features[node_type], graph.node_ids[node_type])
    z = embed_rows(model, states, node_type, h0, arriving(graph, node_type))
    expected = embed(model, encoder, graph)[node_type]
    np.testing.assert_allclose(z.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_row_without_edges_is_who_it_is_alone(graph, served):
    model, encoder = served
    states = full_states(model, encoder, graph)
    h0 = input_rows(model, encoder, "user", graph.features["user"], graph.node_ids["user"])
    nothing = embed_rows(model, states, "user", h0, RowEdges({}, {}))
    lonely = graph.with_edges({key: edges.take(np.zeros(len(edges), bool))
                               for key, edges in graph.edges.items()})  # fmt: skip
    np.testing.assert_allclose(
        nothing.numpy(), embed(model, encoder, lonely)["user"], rtol=1e-5, atol=1e-6
    )
