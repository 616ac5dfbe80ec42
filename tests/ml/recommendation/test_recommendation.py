import numpy as np
import pytest
from drawn import drawn_tables

from ml.contracts.schema import EdgeType
from ml.graph.graph import build_graph
from ml.recommendation.reasons import peers_reason, similarity_reason
from ml.recommendation.recommend import recommend, recommended_edges

ROWS = [
    ("call", "ann", "bob", "user", 1),
    ("call", "cat", "ann", "user", 1),
    ("order", "ann", "p1", "product", 1),
    ("order", "bob", "p2", "product", 1),
    ("order", "cat", "p2", "product", 1),
    ("order", "dan", "p3", "product", 1),
    ("click", "dan", "p1", "product", 1),
]


def recommendations(k=2):
    graph = build_graph(drawn_tables(ROWS))
    z = {
        "user": np.eye(4, 3, dtype=np.float32),
        "product": np.array([[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1]], np.float32),
        "app": np.zeros((2, 3), np.float32),
    }
    scores = np.array([[9, 2, 1], [3, 9, 1], [1, 9, 2], [2, 1, 9]], float)
    return recommend(graph, z, {"product": lambda rows: scores[rows]}, k=k, block=3)


def test_recommendations_are_the_best_that_the_user_does_not_have():
    got = recommendations().select("user_id", "target_id", "rank").rows()
    assert got == [
        ("ann", "p2", 1), ("ann", "p3", 2), ("bob", "p1", 1), ("bob", "p3", 2),
        ("cat", "p3", 1), ("cat", "p1", 2), ("dan", "p1", 1), ("dan", "p2", 2),
    ]  # fmt: skip


def test_reasons_name_contacts_and_what_is_close():
    reasons = {(row[0], row[2]): row[5] for row in recommendations().rows()}
    assert "2 people the user talks to ordered it" in reasons["ann", "p2"]
    assert "close to one, which the user ordered" in reasons["ann", "p2"]
    assert "1 person the user talks to ordered it" in reasons["bob", "p1"]
    assert all(reasons.values())


@pytest.mark.parametrize(
    ("event", "one", "two", "close"),
    [
        ("order", "ordered it", "ordered it", "which the user ordered"),
        ("click", "looked at it", "looked at it", "which the user looked at"),
        ("use", "used it", "used it", "which the user used"),
        (
            "like",
            "has the relation 'like' to it",
            "have the relation 'like' to it",
            "to which the user has the relation 'like'",
        ),
    ],
)
def test_the_reasons_are_sentences_for_one_and_for_many(event, one, two, close):
    edge = EdgeType("user", event, "product", event)
    assert peers_reason(edge, 1) == f"1 person the user talks to {one}"
    assert peers_reason(edge, 2) == f"2 people the user talks to {two}"
    assert similarity_reason(edge, "TV") == f"close to TV, {close}"


def test_a_group_that_likes_it_is_a_reason():
    reasons = {(row[0], row[2]): row[5] for row in recommendations().rows()}
    # Of ann and cat, who have the plan basic, one ordered p1; of all four it is one as well.
    assert "popular in plan basic: 2.0 times the average" in reasons["cat", "p1"]


def test_who_has_everything_gets_fewer():
    everything = [("order", "ann", product, "product", 1) for product in ("p1", "p2", "p3")]
    graph = build_graph(drawn_tables(everything))
    z = {"product": np.eye(3, dtype=np.float32), "user": np.zeros((4, 3), np.float32)}
    got = recommend(graph, z, {"product": lambda rows: np.ones((len(rows), 3))}, k=5)
    assert got.filter(user_id="ann").is_empty()
    assert got.filter(user_id="bob").height == 3


def test_orders_and_uses_are_offered_rather_than_clicks(tables):
    edges = recommended_edges(build_graph(tables))
    assert {name: edge.event for name, edge in edges.items()} == {"product": "order", "app": "use"}


def test_everybody_gets_recommendations_from_the_model(fitted):
    graph, decoder = fitted.graph, fitted.links.decoder
    scorers = {
        name: decoder.scorer(edge, graph, fitted.embeddings)
        for name, edge in recommended_edges(graph).items()
    }
    got = recommend(graph, fitted.embeddings, scorers, k=3, block=64)
    assert got.height == 2 * 3 * graph.num_nodes["user"]
    assert got["reasons"].list.len().min() >= 1
    owned = set(
        zip(
            *(graph.edges[("user", "orders", "product")].__dict__[x] for x in ("src", "dst")),
            strict=True,
        )
    )
    users, products = graph.index("user"), graph.index("product")
    for user, kind, target, *_ in got.head(600).rows():
        assert kind != "product" or (users[user], products[target]) not in owned
