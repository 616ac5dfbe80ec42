from dataclasses import replace

import numpy as np
import pytest
from drawn import START, drawn_tables, events_frame

from ml.fusion.targets import DAY, MIN_CLASS, choose_target, first_order, inactive_after
from ml.graph.graph import build_graph

ORDERS = ("user", "orders", "product")


def end_of(graph):
    return max(int(edges.time.max()) for edges in graph.edges.values())


def chosen(graph, cut, **kwargs):
    return choose_target(graph, cut=cut, rule_score=np.zeros(graph.num_nodes["user"]), **kwargs)


def test_the_label_comes_first(population):
    graph = build_graph(population)
    target = chosen(graph, end_of(graph) - 20 * DAY)
    assert (target.kind, target.validated, target.cut) == ("label", True, None)
    assert (target.what, target.passed_over) == ("label churn", ())
    assert np.array_equal(target.known, graph.labels >= 0)


def test_then_who_falls_silent_and_it_says_why_not_the_label(population):
    graph = build_graph(population)
    few = np.full_like(graph.labels, -1)
    few[:30] = np.arange(30) < 5
    cut = end_of(graph) - DAY  # in the last day many are inactive
    target = chosen(replace(graph, labels=few), cut)
    assert (target.kind, target.validated, target.cut) == ("future behaviour", True, cut)
    assert target.what.startswith("no event in the 1 days from 2")
    assert target.passed_over == (
        "label churn: 5 users with and 25 without, 20 of each are needed",
    )
    assert target.horizon_days == 1.0
    unlabelled = chosen(replace(graph, labels=np.full_like(few, -1)), cut)
    assert unlabelled.passed_over == ("label churn: no user has a value",)
    assert chosen(replace(graph, labels=None), cut).passed_over == ("label: the dataset has none",)


def test_then_who_first_orders_a_product_where_nobody_falls_silent(population):
    graph = replace(build_graph(population), labels=None)
    cut = end_of(graph) - 60 * DAY
    day, users = (cut - int(START.timestamp())) // DAY, graph.node_ids["user"]
    calls = [("call", user, users[0], "user", day + 2) for user in users]
    orders = [("order", user, "brand new", "product", day + 3) for user in users[:90]]
    graph = graph.append(events_frame([*calls, *orders]))
    target = chosen(graph, cut)
    assert target.kind == "future behaviour"
    assert target.what.startswith("first order of product brand new in the 30 days from ")
    assert target.passed_over[1].startswith("no event in the 30 days from ")
    _, early = inactive_after(graph, cut)
    assert np.array_equal(target.known, early)
    assert target.y.sum() == early[:90].sum() >= MIN_CLASS


def test_then_the_rules_which_are_not_validated(population):
    graph = replace(build_graph(population), labels=None)
    score = np.linspace(-1, 1, graph.num_nodes["user"])
    target = choose_target(graph, cut=None, rule_score=score)
    assert (target.kind, target.validated) == ("rules", False)
    assert (target.y.min(), target.y.max()) == (0.0, 1.0)
    assert target.passed_over == (
        "label: the dataset has none",
        "future behaviour: the events have no times to cut at",
    )


def test_inactive_are_those_who_acted_before_the_cut_alone(tables):
    graph = build_graph(tables)
    cut = int(graph.edges[("user", "clicks", "product")].time[0])  # day 7
    inactive, known = inactive_after(graph, cut)
    assert known.tolist() == [True, True, True, False]  # dan acts on day 7 for the first time
    assert inactive[:3].tolist() == [0.0, 0.0, 1.0]  # ann on day 8, bob on day 9, cat never
    inactive, known = inactive_after(graph, cut, cut + 2 * DAY)
    assert inactive[:3].tolist() == [0.0, 1.0, 1.0]  # bob's day 9 is beyond the end


def test_a_first_order_is_of_somebody_who_acted_and_had_not_ordered_it():
    rows = [
        ("order", "ann", "p1", "product", 1),  # has it already
        ("order", "ann", "p1", "product", 11),
        ("call", "bob", "ann", "user", 2),
        ("order", "bob", "p1", "product", 12),  # the first one
        ("order", "cat", "p1", "product", 12),  # was not there before the cut
        ("call", "dan", "ann", "user", 3),
        ("order", "dan", "p2", "product", 30),  # too late
    ]
    graph = build_graph(drawn_tables(rows))
    cut = int(START.timestamp()) + 10 * DAY
    edge = graph.schema.edges[1]
    product, y, known = first_order(graph, edge, cut, cut + 10 * DAY)
    assert graph.node_ids["product"][product] == "p1"
    assert known.tolist() == [False, True, False, True]
    assert y[known].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("labels", [True, False])
def test_what_is_planted_beyond_the_horizon_changes_no_target(population, labels):
    graph = build_graph(population)
    graph = graph if labels else replace(graph, labels=None)
    cut = end_of(graph) - 60 * DAY
    users, products = graph.node_ids["user"], graph.node_ids["product"]
    late = (cut - int(START.timestamp())) // DAY + 45
    rows = [("order", user, product, "product", late) for user in users for product in products[:3]]
    planted = graph.append(events_frame(rows))
    before, after = chosen(graph, cut), chosen(planted, cut)
    assert (before.kind, before.what) == (after.kind, after.what)
    assert np.array_equal(before.y, after.y)
    assert np.array_equal(before.known, after.known)
