"""What measures nothing must be seen to measure nothing."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import events_frame

from ml.evaluation.baselines import item_knn
from ml.evaluation.report import link_report
from ml.graph.graph import Edges, build_graph
from ml.graph.splits import split_graph

CALLS = ("user", "calls", "user")


@pytest.fixture(scope="module")
def split(population):
    return split_graph(build_graph(population))


def neighbours(split):
    """Scorers that know the structure, by edge type."""
    nodes = split.observed.num_nodes
    return {
        edge.key: item_knn(split.observed.pairs(edge.key), nodes[edge.source], nodes[edge.target])
        for edge in split.observed.schema.edges
    }


def test_shuffled_links_give_an_auc_of_one_half(split):
    generator = np.random.default_rng(0)
    users = split.observed.num_nodes["user"]
    size = 6000
    ends = generator.integers(0, users, (2, size))
    shuffled = replace(split, test={**split.test, CALLS: Edges(*ends, np.full(size, 2**40))})
    row = link_report(shuffled, neighbours(split), max_evaluated=size).to_dict()["edge_types"][
        "user-calls-user"
    ]
    for name in ("model", "popularity", "item_knn", "ease", "repeat"):
        assert abs(row[name]["auc"] - 0.5) < 0.03, name
    real = link_report(split, neighbours(split)).to_dict()["edge_types"]["user-calls-user"]
    assert real["model"]["auc"] > 0.6


def test_scores_by_chance_rank_at_random(split):
    generator = np.random.default_rng(1)
    nodes = split.observed.num_nodes
    found = {}
    for seed in range(20):
        tables = {
            edge.key: generator.random((nodes[edge.source], nodes[edge.target]))
            for edge in split.observed.schema.edges
        }
        scorers = {key: (lambda rows, table=table: table[rows]) for key, table in tables.items()}
        for name, row in link_report(split, scorers, seed=seed).to_dict()["edge_types"].items():
            found.setdefault(name, []).append((row["model"]["mrr"], row["model"]["auc"]))
    for name, measured in found.items():
        mrr, auc = np.mean(measured, axis=0)
        targets = nodes[name.rsplit("-", 1)[1]]
        assert mrr == pytest.approx((1 / np.arange(1, targets + 1)).mean(), rel=0.1), name
        assert abs(auc - 0.5) < 0.03, name


def test_a_planted_later_link_is_asked_about_and_known_to_nothing(population, split):
    graph = build_graph(population)
    users = graph.node_ids["user"]
    late = events_frame([("call", users[0], users[1], "user", 9999)])
    planted = split_graph(graph.append(late))
    assert planted.cuts == split.cuts
    assert len(planted.test[CALLS]) == len(split.test[CALLS]) + 1
    for part in ("train", "observed"):
        for key in graph.edges:
            one, two = getattr(split, part).pairs(key), getattr(planted, part).pairs(key)
            assert np.array_equal(one.src, two.src)
            assert np.array_equal(one.dst, two.dst)
            assert np.array_equal(one.count, two.count)
