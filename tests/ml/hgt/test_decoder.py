"""The score of a link against what it is said to be, and the weights that data ask for."""

import math

import numpy as np
import polars as pl
import pytest

from ml.contracts.schema import EdgeKey, EdgeType, GraphSchema, NodeType
from ml.evaluation.baselines import ease
from ml.graph.graph import Edges, Graph
from ml.graph.splits import split_graph
from ml.hgt.decoder import Decoder, LinkWeights, fit_decoder

EDGE = EdgeType("user", "orders", "product", "order")
SCHEMA = GraphSchema((NodeType("user"), NodeType("product")), (EDGE,))


def graph_of(src, dst, time=None, *, users, products) -> Graph:
    ids = {
        "user": tuple(f"u{i}" for i in range(users)),
        "product": tuple(f"p{i}" for i in range(products)),
    }
    edges = Edges(np.array(src), np.array(dst), None if time is None else np.array(time))
    features = {name: pl.DataFrame() for name in ids}
    return Graph(schema=SCHEMA, node_ids=ids, features=features, edges={EDGE.key: edges})


def embeddings_of(graph, seed=0):
    rng = np.random.default_rng(seed)
    drawn = {n: rng.normal(size=(k, 64)).astype(np.float32) for n, k in graph.num_nodes.items()}
    return {name: z / np.linalg.norm(z, axis=1, keepdims=True) for name, z in drawn.items()}


@pytest.mark.parametrize("linear", [True, False])
def test_a_score_is_the_sum_of_its_terms(linear, monkeypatch):
    graph = graph_of([0, 0, 1, 2, 2], [0, 0, 0, 1, 0], [0, 50, 80, 90, 100], users=4, products=3)
    z = embeddings_of(graph)
    weights = LinkWeights(2.0, 0.5, 0.25, 0.7, 0.3, 1.1)
    decoder = Decoder.from_dict(Decoder({EDGE.name: weights}, lately=10.0).to_dict())
    if not linear:
        monkeypatch.setattr("ml.hgt.decoder.ease", lambda *_: None)
    score = decoder.scorer(EDGE, graph, z)(np.array([0, 3]))
    similar = 2.0 * (z["user"][[0, 3]] @ z["product"].T)
    fresh = [sum(math.exp(-(100 - t) / 10) for t in times) for times in ([0, 50, 80, 100], [90])]
    of_target = [
        0.5 * math.log1p(3) + 0.3 * math.log1p(fresh[0]),
        0.5 * math.log1p(1) + 0.3 * math.log1p(fresh[1]),
        0.0,
    ]
    company = [math.log1p(1.0), math.log1p(1 / math.sqrt(3)), 0.0]  # p0 and p1 share user 2
    if linear:
        regression = ease(graph.pairs(EDGE.key), 4, 3)
        assert regression is not None
        company = regression(np.array([0]))[0].tolist()
    own = [
        0.25 * math.log1p(2) + 0.7 * company[0] + 1.1 * math.exp(-50 / 10),
        0.7 * company[1],
        0.7 * company[2],
    ]
    expected = similar + np.array([np.add(of_target, own), of_target])
    np.testing.assert_allclose(score, expected, rtol=1e-5)


def test_without_times_nothing_is_recent():
    graph = graph_of([0, 1, 2], [0, 1, 0], users=3, products=2)
    decoder = Decoder({EDGE.name: LinkWeights(0.0, trend=5.0, recency=5.0)}, lately=None)
    assert not decoder.scorer(EDGE, graph, embeddings_of(graph))(np.arange(3)).any()


@pytest.mark.parametrize("timed", [True, False])
def test_what_happens_again_gets_a_weight(timed):
    rng = np.random.default_rng(3)
    favourite = rng.integers(0, 20, 60)
    src = rng.integers(0, 60, 3000)
    dst = np.where(rng.random(3000) < 0.8, favourite[src], rng.integers(0, 20, 3000))
    graph = graph_of(src, dst, np.arange(3000) if timed else None, users=60, products=20)
    split = split_graph(graph)
    temperatures: dict[EdgeKey, float] = {EDGE.key: 0.1}
    weights = fit_decoder(split, embeddings_of(graph), temperatures).weights[EDGE.name]
    memory = weights.memory + weights.recency
    # In data without times, pairs that were there are no candidates: there is nothing to remember.
    assert memory > 1.0 if timed else abs(weights.recency) <= 0.2
