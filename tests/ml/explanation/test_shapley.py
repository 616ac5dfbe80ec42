"""Shapley values by structure, by all coalitions and by random orders against each other."""

from itertools import permutations

import numpy as np
import pytest
import shap
from games import exact_shapley
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.explanation.shapley import (
    MixedGame,
    permutation_coalitions,
    permutation_shapley,
    subsets,
)


def drawn(first, others, rows, seed, silent=0.3):
    """A random game; some players add nothing to some rows."""
    generator = np.random.default_rng(seed)
    add_r, add_a = generator.normal(size=(2, rows, first))
    still = generator.random((rows, first)) < silent
    add_r[still], add_a[still] = 0.0, 0.0
    start_r, start_a = generator.normal(size=(2, rows))
    m, c = generator.normal(size=(2, 2**others, rows))
    return MixedGame(subsets(others), add_r, add_a, start_r, start_a, m, c, 1.7, -0.4)


def by_orders(value, n):
    """The mean of what each player adds over all n! orders."""
    phi = np.zeros(n)
    orders = list(permutations(range(n)))
    for order in orders:
        coalition = np.zeros((1, n), bool)
        for player in order:
            before = value(coalition)[0]
            coalition[0, player] = True
            phi[player] += value(coalition)[0] - before
    return phi / len(orders)


@given(
    first=st.integers(0, 3), others=st.integers(0, 3), rows=st.integers(1, 4),
    seed=st.integers(0, 1000), silent=st.sampled_from([0.0, 0.5, 1.0]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_structure_gives_what_all_coalitions_give(first, others, rows, seed, silent):
    game = drawn(first, others, rows, seed, silent)
    quick, slow = game.exact(), exact_shapley(game.worth, game.players)
    assert np.allclose(quick.phi, slow.phi, rtol=0, atol=1e-12)
    assert (quick.base, quick.score) == pytest.approx((slow.base, slow.score), abs=1e-12)
    assert quick.additivity_error < 1e-12


def test_many_players_of_which_few_act_on_a_row_are_counted_exactly():
    game = drawn(13, 3, 4, seed=2, silent=0.7)
    assert game.visits < 4 * 2**12
    quick, slow = game.exact(), exact_shapley(game.worth, game.players)
    assert np.allclose(quick.phi, slow.phi, rtol=0, atol=1e-12)
    assert not quick.error.any()


def test_all_coalitions_give_the_mean_over_all_orders():
    game = drawn(3, 2, 3, seed=1)
    phi = exact_shapley(game.worth, 5).phi
    assert np.allclose(phi, by_orders(game.worth, 5), atol=1e-12)


def test_structure_agrees_with_shap():
    game = drawn(4, 3, 5, seed=2)
    explainer = shap.ExactExplainer(lambda x: game.worth(x.astype(bool)), np.zeros((1, 7)))
    expected = explainer(np.ones((1, 7))).values[0]
    assert np.allclose(game.exact().phi, expected, atol=1e-6)


def test_a_player_that_adds_nothing_anywhere_gets_nothing():
    assert np.array_equal(drawn(3, 1, 4, seed=0, silent=1.0).exact().phi[:3], np.zeros(3))


def test_exact_values_need_every_state():
    game = drawn(2, 2, 2, seed=0)
    part = MixedGame(
        game.states[:3], game.add_r, game.add_a, game.start_r, game.start_a, game.m[:3],
        game.c[:3], game.slope, game.shift,
    )  # fmt: skip
    with pytest.raises(ValueError, match="expected all 4"):
        part.exact()


def test_sampled_values_are_close_to_exact_ones_and_add_up():
    game = drawn(5, 3, 5, seed=3)
    exact = game.exact()
    walks = permutation_coalitions(8, permutations=600, seed=0)
    sampled = permutation_shapley(game.worth, walks)
    assert sampled.additivity_error < 1e-12
    assert (sampled.base, sampled.score) == pytest.approx((exact.base, exact.score), abs=1e-12)
    assert np.abs(sampled.phi - exact.phi).max() < 0.02


def test_half_of_the_permutations_are_the_reverse_of_the_others():
    walks = permutation_coalitions(4, permutations=5, seed=2)
    assert walks.shape == (6, 5, 4)
    for walk, back in zip(walks[:3], walks[3:], strict=True):
        assert np.array_equal(walk, ~back[::-1])
    assert np.array_equal(walks, permutation_coalitions(4, permutations=5, seed=2))


def test_two_players_by_orders_are_exact():
    """With two players an order and its reverse are all orders there are."""
    game = drawn(1, 1, 3, seed=4)
    walks = permutation_coalitions(2, permutations=2, seed=0)
    assert np.allclose(permutation_shapley(game.worth, walks).phi, game.exact().phi, atol=1e-12)
