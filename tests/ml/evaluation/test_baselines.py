import numpy as np
import pytest

from ml.evaluation.baselines import EaseConfig, ease, edge_bank
from ml.graph.graph import Edges, distinct_pairs


def drawn(sources=30, targets=8, events=150, seed=0):
    generator = np.random.default_rng(seed)
    src, dst = generator.integers(0, sources, events), generator.integers(0, targets, events)
    return distinct_pairs(Edges(src, dst), targets)


def solved_one_by_one(x, penalty):
    """Ridge regression of each column on the other columns: what the closed form must be."""
    n = x.shape[1]
    weights = np.zeros((n, n))
    for column in range(n):
        rest = [i for i in range(n) if i != column]
        gram = x[:, rest].T @ x[:, rest] + penalty * np.eye(n - 1)
        weights[rest, column] = np.linalg.solve(gram, x[:, rest].T @ x[:, column])
    return x @ weights


def test_ease_is_the_ridge_of_each_target_on_the_others():
    pairs = drawn()
    x = np.zeros((30, 8))
    x[pairs.src, pairs.dst] = 1
    scorer = ease(pairs, 30, 8, EaseConfig(penalty=2.0))
    expected = solved_one_by_one(x, 2.0 * x.sum() / 8)
    assert np.allclose(scorer(np.arange(30)), expected, atol=1e-5)


def test_of_too_many_targets_ease_is_fitted_on_the_most_popular():
    pairs, everybody = drawn(), np.arange(30)
    popular = np.sort(np.argsort(-np.bincount(pairs.dst, minlength=8), kind="stable")[:5])
    inside = np.isin(pairs.dst, popular)
    some = Edges(pairs.src[inside], np.searchsorted(popular, pairs.dst[inside]))
    expected = np.zeros((30, 8))
    expected[:, popular] = ease(distinct_pairs(some, 5), 30, 5)(everybody)
    found = ease(pairs, 30, 8, EaseConfig(max_targets=5))(everybody)
    assert np.allclose(found, expected, atol=1e-5)
    assert len(np.unique(found.argmax(1))) > 1


def test_ease_has_nothing_to_say_where_nothing_is_known():
    assert ease(drawn(events=0), 30, 8) is None


def test_ease_draws_sources_where_there_is_too_much_to_multiply():
    pairs = drawn()
    few = ease(pairs, 30, 8, EaseConfig(max_products=100))
    again = ease(pairs, 30, 8, EaseConfig(max_products=100))
    everybody = np.arange(30)
    assert np.array_equal(few(everybody), again(everybody))
    assert not np.allclose(few(everybody), ease(pairs, 30, 8)(everybody))


def test_the_edge_bank_knows_a_pair_or_does_not():
    pairs = distinct_pairs(Edges(np.array([0, 0, 0]), np.array([1, 1, 2])), 3)
    assert edge_bank(pairs, 2, 3)(np.array([0, 1])).tolist() == [[0, 1, 1], [0, 0, 0]]


def test_ease_of_targets_that_nobody_has_is_zero_there():
    pairs = distinct_pairs(Edges(np.array([0, 1, 2]), np.array([0, 1, 1])), 4)
    assert ease(pairs, 3, 4)(np.arange(3))[:, 2:] == pytest.approx(0.0)


def test_targets_that_have_not_come_yet_change_nothing_in_ease():
    pairs, everybody = drawn(), np.arange(30)
    now, later = ease(pairs, 30, 8)(everybody), ease(pairs, 30, 20)(everybody)
    np.testing.assert_allclose(later[:, :8], now, atol=1e-6)
    assert not later[:, 8:].any()
