"""Hashes as random choices: orders have every number, evenly; folds divide pairs."""

import numpy as np
import pytest

from ml.compute.hashing import fold_of, in_fold, key_of, permuted, permuted_all


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 31, 100])
def test_a_random_order_has_every_number_once(n):
    for seed in range(20):
        assert sorted(permuted(i, n, key_of(seed)) for i in range(n)) == list(range(n))


@pytest.mark.parametrize(("n", "fanout"), [(5, 2), (9, 4), (31, 30)])
def test_every_number_is_among_the_first_as_often(n, fanout):
    sampling_key = 20_000
    count = np.zeros(n)
    for seed in range(sampling_key):
        count[[permuted(i, n, key_of(seed)) for i in range(fanout)]] += 1
    expected = sampling_key * fanout / n
    spread = np.sqrt(sampling_key * fanout / n * (1 - fanout / n))
    assert np.abs(count - expected).max() < 5 * spread


def test_many_at_once_are_the_same_as_each_alone():
    numbers, key = np.array([4, 0, 7]), key_of(3)
    assert permuted_all(numbers, 9, key).tolist() == [permuted(i, 9, key) for i in numbers]


def test_folds_divide_pairs_into_about_equal_parts():
    source, target = np.divmod(np.arange(3_000), 50)
    key = key_of(5)
    parts = np.stack([in_fold(source, target, part, 3, key) for part in range(3)])
    assert (parts.sum(0) == 1).all()
    spread = np.sqrt(3_000 * 1 / 3 * 2 / 3)
    assert np.abs(parts.sum(1) - 1_000).max() < 5 * spread
    own = [fold_of(u, v, 3, key) for u, v in zip(source[:20], target[:20], strict=True)]
    assert parts[:, :20].argmax(0).tolist() == own


def test_a_key_depends_on_every_number_and_on_their_order():
    keys = {int(key_of(*numbers)) for numbers in ((1,), (2,), (1, 2), (2, 1), (1, 2, 0))}
    assert len(keys) == 5
    assert key_of(1, 2) == key_of(1, 2)
