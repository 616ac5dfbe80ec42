import numpy as np
import pytest
import torch
from drawn import events_frame

from ml.contracts.schema import EdgeType, Feature, GraphSchema, NodeType
from ml.graph.graph import build_graph
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.model import EMBEDDING_DIM, ModelConfig, build_model, embed


def model_of(graph, seed=0):
    encoder = FeatureEncoder.fit(graph.schema, graph.features, graph.node_ids)
    return build_model(encoder, ModelConfig(), seed=seed), encoder


def test_every_node_has_a_normalised_embedding(tables):
    graph = build_graph(tables)
    model, encoder = model_of(graph)
    z_dict = embed(model, encoder, graph)
    assert {name: z.shape for name, z in z_dict.items()} == {
        "user": (4, EMBEDDING_DIM), "product": (3, EMBEDDING_DIM), "app": (2, EMBEDDING_DIM),
    }  # fmt: skip
    for z in z_dict.values():
        assert np.allclose(np.linalg.norm(z, axis=1), 1.0, atol=1e-5)


def test_the_seed_decides_the_weights_and_the_global_state_stays(tables):
    graph = build_graph(tables)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    one, two, other = (model_of(graph, seed)[0].state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_types_without_edges_and_features_keep_a_state(tables):
    schema = GraphSchema(
        nodes=(NodeType("user", (Feature("monthly_fee", "numeric"),)), NodeType("app")),
        edges=(EdgeType("user", "calls", "user", "call"),),
    )
    tables.schema = schema
    graph = build_graph(tables)
    model, encoder = model_of(graph)
    z_dict = embed(model, encoder, graph)
    assert z_dict["app"].shape == (2, EMBEDDING_DIM)
    assert np.isfinite(z_dict["app"]).all()


def test_a_schema_without_edges_embeds_features(tables):
    tables.schema = GraphSchema(
        nodes=(NodeType("user", (Feature("plan", "categorical"),)),), edges=()
    )
    graph = build_graph(tables)
    model, encoder = model_of(graph)
    assert np.isfinite(embed(model, encoder, graph)["user"]).all()


def test_a_node_that_comes_later_has_an_embedding_and_moves_only_what_it_reaches(tables):
    graph = build_graph(tables)
    model, encoder = model_of(graph)
    more = graph.append(events_frame([("use", "eve", "a2", "app", 10)]))
    old, new = embed(model, encoder, graph), embed(model, encoder, more)
    assert np.isfinite(new["user"][4]).all()
    assert np.allclose(old["product"][1], new["product"][1], atol=1e-6)  # cat and p2 are far away
    assert not np.allclose(old["app"][1], new["app"][1], atol=1e-3)


def test_a_type_with_too_many_nodes_has_no_learned_ids(tables, monkeypatch):
    monkeypatch.setattr("ml.hgt.encoders.MAX_IDS", 3)
    graph = build_graph(tables)
    model, encoder = model_of(graph)
    assert (encoder.slots("user"), encoder.slots("product")) == (1, 4)
    assert np.isfinite(embed(model, encoder, graph)["user"]).all()


def test_another_schema_is_refused(tables):
    graph = build_graph(tables)
    model, encoder = model_of(graph)
    tables.schema = GraphSchema(nodes=(NodeType("user"),), edges=())
    with pytest.raises(ValueError, match="schema"):
        embed(model, encoder, build_graph(tables))
