import numpy as np
import pytest
from drawn import ROWS, drawn_tables

from ml.contracts.reports.links import EdgeTypeReport
from ml.evaluation.link_notes import FEW, link_notes
from ml.evaluation.report import BASELINES, link_report
from ml.graph.graph import build_graph
from ml.graph.splits import split_graph


def row(model, knn, slices=None, **others):
    mrr = {"model": model, "popularity": 0.2, "repeat": 0.1, "item_knn": knn}
    found = {name: {"mrr": value} for name, value in mrr.items()}
    about = {"split": "in time", "held_out": 9, "evaluated": 9, "slices": slices or {}}
    return {**found, "ease": {}, **about, **others}


def notes(found):
    return link_notes("a", EdgeTypeReport.from_dict(found))


@pytest.mark.parametrize(
    ("model", "knn", "expected"),
    [
        (
            0.28,
            0.31,
            ["a: the baseline item-kNN is better than the model: MRR 0.310 against 0.280"],
        ),
        (0.31, 0.31, []),
        (0.3101, 0.3104, []),
        (0.4, 0.31, []),
    ],
)
def test_a_baseline_that_ranks_better_is_said(model, knn, expected):
    assert notes(row(model, knn)) == expected


def test_each_metric_is_compared():
    found = row(0.4, 0.3)
    found["model"] |= {"auc": 0.7, "ap": 0.8, "ndcg@20": 0.5}
    found["item_knn"] |= {"auc": 0.75, "ap": 0.8, "ndcg@20": 0.6}
    (note,) = notes(found)
    assert note.endswith("model: NDCG@20 0.600 against 0.500, AUC 0.750 against 0.700")


def test_the_best_baseline_of_a_slice_is_said_where_there_are_enough_pairs():
    part = {name: {"mrr": value} for name, value in row(0.28, 0.31).items() if name in BASELINES[:3]
            for value in [row(0.28, 0.31)[name]["mrr"]]}  # fmt: skip
    part |= {"model": {"mrr": 0.28}, "evaluated": FEW}
    (note,) = notes(row(0.5, 0.3, {"repeat": part}))
    assert "among pairs that were there before the baseline item-kNN" in note
    assert "MRR 0.310 against 0.280" in note
    assert notes(row(0.5, 0.3, {"repeat": part | {"evaluated": FEW - 1}})) == []


def test_nothing_evaluated_nothing_said():
    assert notes(row(0.2, 0.3, evaluated=0, held_out=0)) == []


def test_what_was_left_out_is_said():
    left = {"ease": "of 7,000 targets the 6,000 most popular are fitted"}
    (note,) = notes(row(0.5, 0.3, left_out=left))
    assert note == "a: EASE: of 7,000 targets the 6,000 most popular are fitted"


@pytest.fixture(scope="module")
def lost():
    """The report of a model that ranks the first target last."""
    calls = [("order", name, "p1", "product", 0) for name in ("ann", "bob", "cat")]
    late = ("order", "dan", "p1", "product", 40)
    split = split_graph(build_graph(drawn_tables([*ROWS, *calls, late])))

    def first_is_worst(targets):
        return lambda rows: np.tile(np.arange(targets, dtype=float), (len(rows), 1))

    nodes = split.observed.num_nodes
    edges = split.observed.schema.edges
    return link_report(
        split, {edge.key: first_is_worst(nodes[edge.target]) for edge in edges}
    ).to_dict()


def test_the_report_says_where_a_model_loses(lost):
    start = "user-orders-product: the baseline popularity is better than the model"
    assert any(note.startswith(start) for note in lost["notes"])


def test_the_report_says_how_it_was_measured(lost):
    orders = lost["edge_types"]["user-orders-product"]
    assert (orders["evaluated"], orders["slices"]["cold 0"]["evaluated"]) == (1, 1)
    assert orders["model"]["mrr"] == pytest.approx(1 / 3)
    assert orders["model"]["user_ndcg@10"] == pytest.approx(1 / 2)
    assert set(lost["negatives"]) == {"random", "historical"}
    assert "1 a pair" in lost["negatives"]["random"]
    assert "mean rank" in lost["protocol"]
