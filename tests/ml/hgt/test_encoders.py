import numpy as np
import polars as pl

from ml.contracts.schema import TELECOM
from ml.graph.graph import build_graph
from ml.hgt.encoders import (
    CODE_BITS,
    MISSING_SLOT,
    UNKNOWN_SLOT,
    FeatureEncoder,
    Scaler,
    Vocabulary,
    id_codes,
)


def test_numbers_are_standardised_and_what_is_not_finite_is_missing():
    scaler = Scaler.fit(pl.Series([1.0, 3.0, None, float("nan")]))
    assert (scaler.mean, scaler.std) == (2.0, 1.0)
    got = scaler.transform(pl.Series([3.0, None, float("inf"), 1e9]))
    assert got.tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [10.0, 0.0]]


def test_a_constant_or_empty_column_scales_to_zero():
    assert Scaler.fit(pl.Series([5.0, 5.0])).transform(pl.Series([5.0])).tolist() == [[0, 0]]
    assert Scaler.fit(pl.Series([None], dtype=pl.Float64)) == Scaler(0.0, 1.0)


def test_unknown_and_missing_have_slots_of_their_own():
    vocabulary = Vocabulary.fit(pl.Series("plan", ["gold", "basic", "gold", None]))
    assert vocabulary.categories == ("basic", "gold")
    slots = vocabulary.transform(pl.Series("plan", ["basic", "gold", "new", None]))
    assert slots.tolist() == [2, 3, UNKNOWN_SLOT, MISSING_SLOT]
    empty = Vocabulary.fit(pl.Series("plan", [None], dtype=pl.String))
    assert empty.transform(pl.Series("plan", ["x", None])).tolist() == [0, 1]


def test_an_encoder_comes_back_from_plain_data(tables):
    graph = build_graph(tables)
    encoder = FeatureEncoder.fit(graph.schema, graph.features, graph.node_ids)
    assert FeatureEncoder.from_dict(encoder.to_dict()) == encoder


def test_widths_follow_the_schema(tables):
    graph = build_graph(tables)
    encoder = FeatureEncoder.fit(graph.schema, graph.features, graph.node_ids)
    inputs = encoder.transform("user", graph.features["user"], graph.node_ids["user"])
    assert inputs.numeric.shape == (4, encoder.numeric_width("user")) == (4, 4)
    assert inputs.categorical.shape == (4, len(TELECOM.user.names("categorical")))
    assert encoder.cardinalities("app") == [4]


def test_codes_depend_on_type_and_id_alone_and_are_almost_orthogonal():
    ids = [f"user {i}" for i in range(200)]
    codes = id_codes("user", ids)
    assert codes.shape == (200, CODE_BITS)
    assert np.array_equal(codes[7], id_codes("user", ["user 7"])[0])
    assert not np.array_equal(codes[7], id_codes("app", ["user 7"])[0])
    cosine = codes @ codes.T / CODE_BITS - np.eye(200)
    assert np.abs(cosine).mean() < 0.15


def test_types_whose_nodes_have_few_edges_get_no_learned_vectors(tables, monkeypatch):
    graph = build_graph(tables)
    pairs = {"user": 0, "product": 0, "app": 0}
    for edge in graph.schema.edges:
        for name in (edge.source, edge.target):
            pairs[name] += len(graph.pairs(edge.key))
    mean = {name: pairs[name] / graph.num_nodes[name] for name in pairs}
    monkeypatch.setattr("ml.hgt.encoders.MIN_PAIRS", sorted(mean.values())[1])
    encoder = FeatureEncoder.of_graph(graph)
    learned = {name for name in mean if encoder.slots(name) > 1}
    assert learned == {name for name in mean if mean[name] >= sorted(mean.values())[1]}
    assert 0 < len(learned) < 3
