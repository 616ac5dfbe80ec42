"""The flat view and its groups: against all coalitions and against shap, and what adds up."""

import numpy as np
import pytest
import shap
import torch
from games import exact_shapley, small

from ml.explanation.explanation import explain_flat, explain_groups
from ml.explanation.flat import flat_game
from ml.explanation.game import Weights, group_game
from ml.fusion.evidence import Evidence
from ml.fusion.fusion import score


def game_of(**more):
    game = small(**more)
    columns = list(game.model.encoder.columns.values())
    weights = Weights.of(game.fusion)
    return game, flat_game(weights, game.user, game.background.evidence, columns=columns)


def straight(game, coalition):
    """The worth of one coalition of the flat features, row by row through the fusion."""
    user, others = game.user, game.background.evidence
    rules, width = len(game.rules), user.embedding.shape[1]
    columns = list(game.model.encoder.columns.values())
    of_columns = np.repeat(coalition[rules + 1 + width :], columns)
    mixed = Evidence(
        np.where(coalition[:rules], user.hits, others.hits),
        np.where(coalition[rules], user.rule_score, others.rule_score),
        np.where(coalition[rules + 1 : rules + 1 + width], user.embedding, others.embedding),
        np.where(of_columns, user.attributes, others.attributes),
    )
    return score(game.fusion, mixed).final.mean()


@pytest.mark.parametrize("attributes", [True, False])
def test_the_worth_of_coalitions_is_that_of_the_fusion(attributes):
    game, flat = game_of(attributes=attributes)
    features = flat.add_r.shape[1]
    coalitions = np.random.default_rng(0).random((20, features)) < 0.5
    expected = [straight(game, coalition) for coalition in coalitions]
    assert np.allclose(flat.worth(coalitions), expected, atol=1e-7)


def test_walks_come_near_the_exact_values():
    _, flat = game_of(rules=3)
    exact = exact_shapley(flat.worth, flat.add_r.shape[1])
    sampled = flat.sample(pairs=7000, seed=1)
    assert np.abs(sampled.phi - exact.phi).max() < 2 * sampled.error.max() < 0.005
    assert (sampled.base, sampled.score) == pytest.approx((exact.base, exact.score), abs=1e-9)


def test_few_walks_add_up_exactly():
    game, flat = game_of()
    found = flat.sample(pairs=1, seed=5)
    assert found.additivity_error < 1e-9
    assert found.base == pytest.approx(score(game.fusion, game.background.evidence).final.mean())
    assert found.score == pytest.approx(score(game.fusion, game.user).final[0])


def test_walks_from_one_row_are_exact_for_two_features_that_differ():
    game = small(rows=1)
    others = game.background.evidence
    near = Evidence(
        game.user.hits, game.user.rule_score, game.user.embedding.copy(), others.attributes.copy()
    )
    near.attributes[:] = game.user.attributes
    near.attributes[0, 0] += 1.0
    near.embedding[0, 1] -= 0.5
    columns = list(game.model.encoder.columns.values())
    flat = flat_game(Weights.of(game.fusion), game.user, near, columns=columns)
    exact = exact_shapley(flat.worth, flat.add_r.shape[1])
    found = flat.sample(pairs=1)
    assert np.allclose(found.phi, exact.phi, atol=1e-12)
    assert (found.phi != 0).sum() == 2


def test_walks_agree_with_shaps_kernel():
    game, flat = game_of(rules=3, attributes=False, rows=5)
    double = game.fusion.double().eval()

    def model(x):
        x = torch.from_numpy(np.asarray(x, np.float64))
        with torch.no_grad():
            p = double.calibrated(double.logit(x[:, :3], x[:, 3], x[:, 4:], x[:, :0]))
        return p.numpy()

    def matrix(evidence):
        return np.hstack([evidence.hits, evidence.rule_score[:, None], evidence.embedding])

    explainer = shap.KernelExplainer(model, matrix(game.background.evidence))
    expected = explainer.shap_values(matrix(game.user), l1_reg=0, silent=True)[0]
    assert np.abs(flat.sample(pairs=5000).phi - expected).max() < 0.005


@pytest.mark.parametrize("attributes", [True, False])
def test_groups_are_exact(attributes):
    game = small(attributes=attributes)
    found = explain_groups(game.model, game.subject, game.background).to_dict()
    flat = flat_game(
        Weights.of(game.fusion), game.user, game.background.evidence,
        columns=list(game.model.encoder.columns.values()),
    )  # fmt: skip
    groups = [[0], [1], [2], [3], [4, 5, 6, 7], list(range(8, flat.add_r.shape[1]))]
    groups = groups[: 5 + attributes]

    def value(coalitions):
        wide = np.zeros((len(coalitions), flat.add_r.shape[1]), bool)
        for position, members in enumerate(groups):
            wide[:, members] = coalitions[:, [position]]
        return flat.worth(wide)

    expected = exact_shapley(value, len(groups))
    names = ["r0", "r1", "r2", "rule score", "embedding", "attributes and counts"]
    said = {row["player"]: row["contribution"] for row in found["contributions"]}
    assert np.allclose([said[name] for name in names[: len(groups)]], expected.phi, atol=1e-9)
    assert found["base"] == pytest.approx(expected.base)
    assert "exact" in found["method"]


def test_groups_of_many_rules_are_sampled_and_add_up():
    game = small(rules=60)
    found = explain_groups(game.model, game.subject, game.background).to_dict()
    assert "antithetic" in found["method"]
    assert found["additivity_error"] < 1e-9


def test_groups_agree_with_shap():
    game = small(attributes=False)
    groups = group_game(
        Weights.of(game.fusion), game.rules.rules, game.user, game.background.evidence
    )
    n = groups.players
    explainer = shap.ExactExplainer(lambda x: groups.worth(x.astype(bool)), np.zeros((1, n)))
    expected = explainer(np.ones((1, n))).values[0]
    assert np.allclose(groups.exact().phi, expected, atol=1e-6)


def test_the_flat_answer_names_every_feature():
    game = small()
    found = explain_flat(game.model, game.subject, game.background, pairs=10).to_dict()
    kinds = [row["kind"] for row in found["contributions"]]
    assert sorted(set(kinds)) == ["attribute", "embedding", "rule", "rule score"]
    assert len(kinds) == 3 + 1 + 4 + 4
    shown = {row["player"]: row["value"] for row in found["contributions"]}
    assert shown["fee"] == 70.0
    assert "14 antithetic pairs" in found["method"]
    assert found["view"] == "flat"
