from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import shap
import torch

from ml.data.schema import TELECOM
from ml.hgt.encoders import Scaler
from ml.profile.evidence import AttributeEncoder, Evidence
from ml.profile.explanation import (
    coalition_value,
    draw_background,
    exact_shapley,
    explain,
    permutation_shapley,
    players,
)
from ml.profile.fusion import Fusion, Widths, score
from ml.profile.rules import Rule, RuleSet

RULES = RuleSet([Rule("a", "monthly_fee > 1", 1.0), Rule("b", "tenure_months > 1", -2.0)], TELECOM)


def small(attributes=3, seed=0):
    """A fusion with random weights, evidence of 30 users and their background."""
    generator = np.random.default_rng(seed)
    hits = (generator.random((30, 2)) < 0.5).astype(np.float32)
    evidence = Evidence(
        hits,
        RULES.score(hits.astype(bool)).astype(np.float32),
        generator.normal(size=(30, 4)).astype(np.float32),
        generator.normal(size=(30, 2 * attributes)).astype(np.float32),
    )
    fusion = Fusion(Widths.of(evidence), 6)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.copy_(torch.from_numpy(generator.normal(size=tuple(parameter.shape))))
    encoder = AttributeEncoder({f"x{i}": Scaler(0.0, 1.0) for i in range(attributes)}, {}, {})
    return fusion, encoder, evidence, draw_background(evidence, size=5, seed=1)


def value_of(fusion, encoder, evidence, background):
    seats = players(RULES, encoder, embedding=4)
    user = evidence.take(np.array([0]))
    return coalition_value(fusion, RULES, seats, user, background.evidence), len(seats)


def test_exact_values_agree_with_the_mean_over_all_orders():
    value, n = value_of(*small(attributes=1))
    phi, base, final = exact_shapley(value, n)
    expected = np.zeros(n)
    orders = list(permutations(range(n)))
    for order in orders:
        coalition = np.zeros(n, bool)
        for player in order:
            before = value(coalition[None])[0]
            coalition[player] = True
            expected[player] += value(coalition[None])[0] - before
    assert np.allclose(phi, expected / len(orders), atol=1e-12)
    assert phi.sum() == pytest.approx(final - base, abs=1e-12)


def test_exact_values_agree_with_shap():
    value, n = value_of(*small())
    explainer = shap.ExactExplainer(lambda x: value(x.astype(bool)), np.zeros((1, n)))
    expected = explainer(np.ones((1, n))).values[0]
    assert np.allclose(exact_shapley(value, n)[0], expected, atol=1e-6)


def test_sampled_values_are_close_to_exact_ones_and_add_up():
    value, n = value_of(*small())
    exact, base, final = exact_shapley(value, n)
    phi, sampled_base, sampled_final = permutation_shapley(value, n, permutations=400, seed=0)
    assert (sampled_base, sampled_final) == pytest.approx((base, final), abs=1e-12)
    assert phi.sum() == pytest.approx(final - base, abs=1e-12)
    assert np.abs(phi - exact).max() < 0.02


def test_sampled_values_agree_with_shaps_permutations():
    value, n = value_of(*small())
    masker = shap.maskers.Independent(np.zeros((1, n)))
    explainer = shap.PermutationExplainer(lambda x: value(x.astype(bool)), masker, seed=0)
    expected = explainer(np.ones((1, n)), max_evals=400 * n).values[0]
    phi = permutation_shapley(value, n, permutations=400, seed=0)[0]
    assert np.abs(phi - expected).max() < 0.02


def test_a_rule_out_of_play_changes_vector_and_score_together():
    fusion, encoder, evidence, background = small()
    value, n = value_of(fusion, encoder, evidence, background)
    only_first_rule = np.zeros((1, n), bool)
    only_first_rule[0, 0] = True
    total = 0.0
    for row in range(len(background.evidence)):
        mixed = background.evidence.take(np.array([row]))
        hits = mixed.hits.copy()
        hits[0, 0] = evidence.hits[0, 0]
        weighted = (hits @ np.array([1.0, -2.0]) / 3).astype(np.float64)
        mixed = Evidence(hits, weighted, mixed.embedding, mixed.attributes)
        total += score(fusion, mixed).final[0]
    assert value(only_first_rule)[0] == pytest.approx(total / len(background.evidence))


@pytest.mark.parametrize("attributes", [3, 14])
def test_contributions_add_up_to_the_final_score(attributes):
    fusion, encoder, evidence, background = small(attributes)
    user = evidence.take(np.array([3]))
    found = explain(fusion, RULES, encoder, user, background, attributes={"x0": 7.0})
    total = sum(row["contribution"] for row in found["contributions"])
    assert found["base"] + total == pytest.approx(found["score"], abs=1e-9)
    assert found["score"] == pytest.approx(score(fusion, user).final[0], abs=1e-6)
    assert found["additivity_error"] < 1e-6
    assert ("exact" in found["method"]) == (attributes == 3)
    assert found["background"] == "5 users, seed 1"
    shown = {row["player"]: row for row in found["contributions"]}
    assert shown["x0"]["value"] == 7.0
    assert {row["kind"] for row in found["contributions"]} == {"rule", "embedding", "attribute"}


def test_the_same_seed_gives_the_same_explanation(fitted):
    model, background = fitted.profile.model, fitted.profile.background
    user = fitted.evidence.take(np.array([5]))
    parts = (model.fusion, fitted.rules, model.encoder, user, background)
    assert explain(*parts) == explain(*parts)


def test_more_than_one_user_is_refused():
    fusion, encoder, evidence, background = small()
    with pytest.raises(ValueError, match="one user"):
        explain(fusion, RULES, encoder, evidence, background)


def test_a_player_that_changes_nothing_gets_nothing():
    fusion, encoder, evidence, _ = small()
    same = SimpleNamespace(evidence=evidence.take(np.array([0, 0])), id="", seed=0)
    phi, _, _ = exact_shapley(*value_of(fusion, encoder, evidence, same))
    assert np.allclose(phi, 0.0)
