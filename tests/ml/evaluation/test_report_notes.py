import numpy as np
import pytest
from drawn import ROWS, drawn_tables

from ml.evaluation.report import link_report, rank_notes
from ml.graph.graph import build_graph
from ml.graph.splits import split_graph


def row(model, knn, evaluated=9):
    mrr = {"model": model, "popularity": 0.2, "repeat": 0.1, "item_knn": knn}
    return {**{name: {"mrr": value} for name, value in mrr.items()}, "evaluated": evaluated}


@pytest.mark.parametrize(
    ("model", "knn", "expected"),
    [
        (0.28, 0.31, ["a: item_knn ranks better than the model: MRR 0.310 against 0.280"]),
        (0.31, 0.31, []),
        (0.3101, 0.3104, []),
        (0.4, 0.31, []),
    ],
)
def test_a_baseline_that_ranks_better_is_said(model, knn, expected):
    assert rank_notes("a", row(model, knn)) == expected


def test_nothing_evaluated_nothing_said():
    assert rank_notes("a", {"evaluated": 0, "model": {}}) == []


def test_the_report_says_where_a_model_loses():
    calls = [("order", name, "p1", "product", 0) for name in ("ann", "bob", "cat")]
    late = ("order", "dan", "p1", "product", 40)
    split = split_graph(build_graph(drawn_tables([*ROWS, *calls, late])))

    def first_is_worst(targets):
        return lambda rows: np.tile(np.arange(targets, dtype=float), (len(rows), 1))

    nodes = split.observed.num_nodes
    edges = split.observed.schema.edges
    report = link_report(split, {edge.key: first_is_worst(nodes[edge.target]) for edge in edges})
    assert any("user-orders-product: popularity ranks" in note for note in report["notes"])
