import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from ml.evaluation.baselines import item_knn, popularity, repeat
from ml.evaluation.metrics import (
    Neighbours,
    auc,
    average_precision,
    brier,
    calibration_error,
    reliability,
)
from ml.evaluation.ranking import rank_metrics, rank_queries
from ml.graph.graph import Edges, distinct_pairs


def oracle_rank(scores, source, target, excluded, without_self):
    """The definition, one candidate at a time."""
    better = ties = 0
    for candidate, score in enumerate(scores[source]):
        if candidate == target or (source, candidate) in excluded:
            continue
        if without_self and candidate == source:
            continue
        better += score > scores[source, target]
        ties += score == scores[source, target]
    return 1 + better + ties / 2


@given(st.integers(0, 10_000), st.booleans(), st.integers(1, 7))
def test_ranks_agree_with_the_definition(seed, without_self, block):
    generator = np.random.default_rng(seed)
    n = 9
    scores = generator.integers(0, 4, (n, n)).astype(float)  # many ties
    known = np.unique(generator.integers(0, n * n, 25))
    src, dst = np.divmod(known, n)
    chosen = generator.permutation(len(src))[:10]
    chosen = chosen[~(without_self & (src[chosen] == dst[chosen]))]
    excluded = set(zip(src.tolist(), dst.tolist(), strict=True))
    found = rank_queries(
        lambda rows: scores[rows], src[chosen], dst[chosen],
        removed={"excluded": Neighbours.of(src, dst, n)}, without_self=without_self, block=block,
    )  # fmt: skip
    expected = [
        oracle_rank(scores, s, d, excluded, without_self)
        for s, d in zip(src[chosen], dst[chosen], strict=True)
    ]
    assert found.places["excluded"].ranks.tolist() == expected


def test_rank_metrics_by_hand():
    found = rank_metrics(np.array([1.0, 2.0, 20.0, 50.0]))
    assert found["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 20 + 1 / 50) / 4)
    assert (found["hits@1"], found["hits@10"], found["recall@20"]) == (0.25, 0.5, 0.75)
    assert found["ndcg@10"] == pytest.approx((1 + 1 / np.log2(3)) / 4)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=4, max_size=60))
def test_auc_and_ap_agree_with_sklearn(rows):
    target = np.array([row[0] for row in rows] + [True, False])
    score = np.array([row[1] for row in rows] + [2, 3], float)
    assert auc(target, score) == pytest.approx(reference.roc_auc_score(target, score))
    assert average_precision(target, score) == pytest.approx(
        reference.average_precision_score(target, score)
    )


def test_auc_needs_both_classes():
    with pytest.raises(ValueError, match="expected both"):
        auc(np.ones(3), np.arange(3.0))


def test_calibration_by_hand():
    p, y = np.array([0.05, 0.05, 0.95, 1.0]), np.array([0, 1, 1, 1])
    assert calibration_error(y, p) == pytest.approx(0.5 * 0.45 + 0.5 * 0.025)
    assert brier(y, p) == pytest.approx((0.05**2 + 0.95**2 + 0.05**2) / 4)
    assert [row.count for row in reliability(y, p)] == [2, 2]


PAIRS = distinct_pairs(
    Edges(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 0, 2, 1])), num_targets=3
)


def test_baselines_by_hand():
    everybody = np.arange(3)
    assert popularity(PAIRS, 3)(everybody)[1].tolist() == [2, 2, 1]
    assert repeat(PAIRS, 3, 3)(everybody).tolist() == [[2, 1, 0], [1, 0, 1], [0, 1, 0]]
    seen = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0]], float)
    unit = seen / np.linalg.norm(seen, axis=0)
    cosine = unit.T @ unit
    assert np.allclose(item_knn(PAIRS, 3, 3)(everybody), seen @ cosine)
