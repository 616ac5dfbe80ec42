import numpy as np
import pytest

from ml.evaluation.bootstrap import auc_difference, auc_interval, counts, weighted_auc
from ml.evaluation.metrics import auc


def drawn(n=120, seed=0):
    generator = np.random.default_rng(seed)
    y = (generator.random(n) < 0.4).astype(float)
    first = np.round(y + generator.normal(size=n), 1)  # with ties
    second = np.round(0.5 * y + generator.normal(size=n), 1)
    return y, first, second


def test_the_interval_is_that_of_a_plain_loop_over_resamples():
    y, first, second = drawn()
    found = auc_difference(y, first, second, resamples=200, seed=3)
    generator = np.random.default_rng(3)
    values = [
        auc(y[rows], first[rows]) - auc(y[rows], second[rows])
        for rows in generator.integers(0, len(y), (200, len(y)))
    ]
    assert found.value == pytest.approx(auc(y, first) - auc(y, second))
    assert [found.low, found.high] == pytest.approx(np.quantile(values, [0.025, 0.975]).tolist())


def test_an_auc_of_counted_users_is_the_auc_of_repeated_ones():
    y, first, _ = drawn(40)
    times = np.random.default_rng(1).integers(0, 4, (5, 40)).astype(float)
    expected = [
        auc(np.repeat(y, row.astype(int)), np.repeat(first, row.astype(int))) for row in times
    ]
    assert weighted_auc(y, first, times) == pytest.approx(expected)


def test_counts_say_how_often_each_was_drawn():
    assert counts(np.array([[0, 0, 2], [1, 1, 1]])).tolist() == [[2, 0, 1], [0, 3, 0]]


def test_equal_scores_differ_by_nothing():
    y, first, _ = drawn()
    found = auc_difference(y, first, first, resamples=50)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_resamples_without_one_class_are_left_out():
    y = np.array([1.0, 0.0, 0.0, 0.0])
    score = np.array([0.9, 0.1, 0.2, 0.3])
    found = auc_difference(y, score, -score, resamples=100)
    assert found.value == 1.0
    assert (found.low, found.high) == (1.0, 1.0)


def test_both_classes_are_needed():
    with pytest.raises(ValueError, match="expected both"):
        auc_difference(np.ones(3), np.arange(3.0), np.arange(3.0))


def test_the_interval_of_one_auc_is_that_of_a_plain_loop_over_resamples():
    y, first, _ = drawn()
    found = auc_interval(y, first, resamples=200, seed=3)
    generator = np.random.default_rng(3)
    values = [auc(y[rows], first[rows]) for rows in generator.integers(0, len(y), (200, len(y)))]
    assert found.value == pytest.approx(auc(y, first))
    assert [found.low, found.high] == pytest.approx(np.quantile(values, [0.025, 0.975]).tolist())
