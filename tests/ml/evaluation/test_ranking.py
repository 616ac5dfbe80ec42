from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.evaluation.metrics import Neighbours
from ml.evaluation.ranking import Places, list_metrics, rank_metrics, rank_queries


def lists_by_hand(scores, relevant, k):
    """Mean NDCG@k and Recall@k over all orders in which tied candidates can stand."""
    found = []
    for order in permutations(range(len(scores))):
        if any(scores[a] < scores[b] for a, b in pairwise(order)):  # not sorted by score
            continue
        hit = [1.0 if item in relevant else 0.0 for item in order[:k]]
        dcg = sum(h / np.log2(place + 2) for place, h in enumerate(hit))
        ideal = sum(1 / np.log2(place + 2) for place in range(min(k, len(relevant))))
        found.append((dcg / ideal, sum(hit) / len(relevant)))
    return np.mean(found, axis=0)


@given(st.integers(0, 10_000), st.integers(1, 7))
def test_lists_agree_with_all_orders_of_the_ties(seed, k):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 3, (2, 6)).astype(float)
    relevant = [np.flatnonzero(generator.random(6) < 0.4) for _ in range(2)]
    relevant = [items if len(items) else np.array([2]) for items in relevant]
    src = np.repeat([0, 1], [len(items) for items in relevant])
    found = rank_queries(
        lambda rows: scores[rows], src, np.concatenate(relevant), removed={"none": None}
    )
    got = list_metrics(src, found.places["none"], k=k)
    expected = np.mean(
        [lists_by_hand(scores[i], set(relevant[i].tolist()), k) for i in range(2)], axis=0
    )
    assert [got[f"user_ndcg@{k}"], got[f"user_recall@{k}"]] == pytest.approx(expected)


def test_a_list_is_divided_by_the_best_the_user_could_have():
    # One user with two relevant items at the places 1 and 3, one with a single one at place 2.
    places = Places(np.array([0, 2, 1]), np.array([1, 1, 1]))
    found = list_metrics(np.array([5, 5, 9]), places)
    best = 1 + 1 / np.log2(3)
    expected = ((1 + 1 / np.log2(4)) / best + (1 / np.log2(3)) / 1) / 2
    assert found["user_ndcg@10"] == pytest.approx(expected)
    assert found["user_recall@10"] == 1.0


def test_each_way_of_removing_gets_its_own_places_and_others_their_scores():
    scores = np.array([[5.0, 4.0, 3.0, 2.0]])
    known = Neighbours.of(np.array([0, 0]), np.array([0, 1]), 1)
    found = rank_queries(
        lambda rows: scores[rows],
        np.array([0]),
        np.array([2]),
        removed={"all": None, "new": known},
        others={"negative": np.array([3])},
    )
    assert found.places["all"].ranks.tolist() == [3]
    assert found.places["new"].ranks.tolist() == [1]
    assert (found.value.tolist(), found.others["negative"].tolist()) == ([3.0], [2.0])


def test_the_true_target_is_a_candidate_even_where_it_is_removed():
    scores = np.array([[1.0, 3.0, 2.0]])
    gone = Neighbours.of(np.array([0, 0]), np.array([1, 2]), 1)
    found = rank_queries(
        lambda rows: scores[rows], np.array([0, 0]), np.array([1, 2]), removed={"x": gone}
    )
    assert found.places["x"].ranks.tolist() == [1, 1]


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="not a number"):
        rank_queries(
            lambda rows: np.full((len(rows), 3), np.nan), np.array([0]), np.array([1]), removed={}
        )


def test_ndcg_of_single_targets_stops_at_its_length():
    found = rank_metrics(np.array([1.0, 15.0]))
    assert found["ndcg@10"] == pytest.approx(0.5)
    assert found["ndcg@20"] == pytest.approx((1 + 1 / 4) / 2)


def test_random_scores_rank_at_random():
    generator = np.random.default_rng(0)
    scores = generator.random((400, 60))
    src, dst = np.arange(400), generator.integers(0, 60, 400)
    found = rank_queries(lambda rows: scores[rows], src, dst, removed={"none": None})
    harmonic = (1 / np.arange(1, 61)).mean()
    assert rank_metrics(found.places["none"].ranks)["mrr"] == pytest.approx(harmonic, abs=0.03)
    flat = rank_queries(lambda rows: np.zeros((len(rows), 60)), src, dst, removed={"none": None})
    assert set(flat.places["none"].ranks) == {30.5}
