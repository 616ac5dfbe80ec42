import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from ml.evaluation.metrics import auc, brier
from ml.fusion import validation
from ml.fusion.evidence import AttributeEncoder, Evidence, profile_frame
from ml.fusion.fusion import Fusion, FusionConfig, Widths, fit_fusion, platt, score
from ml.fusion.scoring import score_users
from ml.fusion.targets import ScoreTarget
from ml.fusion.validation import stratified_folds, validate_fusion
from ml.graph.graph import build_graph
from ml.hgt.encoders import Scaler

CONFIG = FusionConfig(epochs=15)


def planted(n=1200, seed=0):
    """Evidence in which a rule, the embedding and an attribute each say a part of the truth."""
    generator = np.random.default_rng(seed)
    hits = (generator.random((n, 2)) < 0.4).astype(np.float32)
    embedding = generator.normal(size=(n, 8)).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    attributes = generator.normal(size=(n, 3)).astype(np.float32)
    z = 1.5 * (hits[:, 0] - 0.4) + 4 * embedding[:, 0] + attributes[:, 1] - 1
    y = (generator.random(n) < 1 / (1 + np.exp(-z))).astype(float)
    return Evidence(hits, hits[:, 0] - hits[:, 1], embedding, attributes), y


def test_the_fused_logit_is_the_gated_sum():
    evidence, y = planted()
    fusion = fit_fusion(evidence, y, CONFIG)
    one = score(fusion, evidence)
    a, b = fusion.platt.tolist()

    def z_of(p):
        return (np.log(p / (1 - p)) - b) / a

    expected = one.gate * z_of(one.rule) + (1 - one.gate) * z_of(one.model)
    assert np.allclose(z_of(one.final), expected, atol=1e-6)
    assert ((one.gate > 0) & (one.gate < 1)).all()


def test_scoring_in_blocks_changes_nothing():
    evidence, y = planted()
    fusion = fit_fusion(evidence, y, CONFIG)
    assert np.allclose(score(fusion, evidence).final, score(fusion, evidence, block=7).final)


def test_it_learns_from_all_kinds_of_evidence_and_the_seed_decides():
    evidence, y = planted()
    rows = np.arange(len(y))
    fusion = fit_fusion(evidence.take(rows < 900), y[:900], CONFIG)
    again = fit_fusion(evidence.take(rows < 900), y[:900], CONFIG)
    later = evidence.take(rows >= 900)
    assert auc(y[900:], score(fusion, later).final) > 0.75
    assert np.array_equal(score(fusion, later).final, score(again, later).final)


def test_it_works_without_rules_and_without_attributes():
    evidence, y = planted(300)
    bare = replace(
        evidence,
        hits=np.zeros((300, 0), np.float32),
        rule_score=np.zeros(300, np.float32),
        attributes=np.zeros((300, 0), np.float32),
    )
    assert np.isfinite(score(fit_fusion(bare, y, CONFIG), bare).final).all()


def test_platt_finds_the_slope_and_shift_that_made_the_outcomes():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(40_000, generator=generator, dtype=torch.float64)
    y = (torch.rand(40_000, generator=generator) < torch.sigmoid(2 * z - 1)).double()
    slope, shift = platt(z, y).tolist()
    assert slope == pytest.approx(2, abs=0.1)
    assert shift == pytest.approx(-1, abs=0.1)


def test_too_few_users_are_refused():
    evidence, y = planted(8)
    with pytest.raises(ValueError, match="10 or more"):
        fit_fusion(evidence, y, CONFIG)


def report_of(evidence, y, frame, encoder):
    target = ScoreTarget("label", y, np.ones(len(y), bool))
    return validate_fusion(evidence, target, frame, encoder, CONFIG).report.to_dict()


def plain_frame(evidence):
    schema_frame = {f"x{i}": evidence.attributes[:, i].astype(float) for i in range(3)}
    return pl.DataFrame(schema_frame)


def test_the_report_shows_the_parts_on_the_same_folds():
    evidence, y = planted()
    frame = plain_frame(evidence)
    encoder = AttributeEncoder({name: Scaler(0.0, 1.0) for name in frame.columns}, {}, {})
    report = report_of(evidence, y, frame, encoder)
    parts = ("rules_auc", "embedding_auc", "without_embedding_auc")
    assert report["auc"] > max(report[name] for name in parts) + 0.02
    assert report["ece"] < 0.08
    assert report["validated"]
    assert 0 < report["gate"]["p5"] <= report["gate"]["p95"] < 1
    assert set(report["methods"]) == {
        "rules",
        "embedding",
        "boosting",
        "without_embedding",
        "fused",
    }
    assert not any("embedding adds nothing" in note for note in report["notes"])


def test_shuffled_labels_give_chance():
    evidence, y = planted(5000)
    frame = plain_frame(evidence)
    encoder = AttributeEncoder({name: Scaler(0.0, 1.0) for name in frame.columns}, {}, {})
    report = report_of(evidence, np.random.default_rng(1).permutation(y), frame, encoder)
    for name in ("auc", "rules_auc", "embedding_auc", "boosting_auc", "without_embedding_auc"):
        assert abs(report[name] - 0.5) < 0.03, name
    assert any("hardly better than chance" in note for note in report["notes"])
    assert any("does not clearly beat" in note for note in report["notes"])


def test_the_fused_score_is_compared_with_its_best_part_on_the_same_users():
    evidence, y = planted()
    frame = plain_frame(evidence)
    encoder = AttributeEncoder({name: Scaler(0.0, 1.0) for name in frame.columns}, {}, {})
    report = report_of(evidence, y, frame, encoder)
    found, methods = report["comparison"], report["methods"]
    best = max(("rules", "embedding", "boosting"), key=lambda name: methods[name]["auc"])
    assert found["best_part"] == best
    assert found["value"] == pytest.approx(methods["fused"]["auc"] - methods[best]["auc"])
    assert 0 < found["low"] < found["value"] < found["high"]
    assert found["resamples"] >= 1000


def test_calibration_does_not_hurt_and_repairs_what_is_off():
    evidence, y = planted(1500)
    frame = plain_frame(evidence)
    encoder = AttributeEncoder({name: Scaler(0.0, 1.0) for name in frame.columns}, {}, {})
    report = report_of(evidence, y, frame, encoder)
    assert report["brier"] <= report["calibration"]["brier_before"] + 0.001
    assert report["calibration"]["bins"] == 10
    assert sum(row["count"] for row in report["reliability"]) == report["users"]
    z = torch.from_numpy(np.random.default_rng(0).normal(size=4000))
    happens = torch.rand(4000, generator=torch.Generator().manual_seed(0)) < torch.sigmoid(z)
    too_sure = torch.sigmoid(3 * z - 1)
    a, b = platt(3 * z - 1, happens.double())
    outcome = happens.double().numpy()
    repaired = torch.sigmoid(a * (3 * z - 1) + b).numpy()
    assert brier(outcome, repaired) < brier(outcome, too_sure.numpy()) - 0.02
    assert (a.item(), b.item()) == pytest.approx((1 / 3, 1 / 3), abs=0.05)


def test_fit_and_calibration_never_see_the_users_they_are_measured_on():
    """Other outcomes of one fold change nothing of what is said of that fold."""
    evidence, y = planted(300)
    frame = plain_frame(evidence)
    encoder = AttributeEncoder({name: Scaler(0.0, 1.0) for name in frame.columns}, {}, {})
    raw, categorical = encoder.raw(frame)
    fold = stratified_folds(y, CONFIG.folds, CONFIG.seed)
    rows = np.flatnonzero(fold == 2)
    swapped = y.copy()
    order = rows[np.argsort(np.random.default_rng(5).random(len(rows)))]
    swapped[rows] = y[order]
    assert (swapped != y).any()
    kept = {id(y): fold, id(swapped): fold}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "stratified_folds", lambda target, *_: kept[id(target)])
        one, _ = validation._out_of_fold(evidence, y, raw, categorical, CONFIG)
        two, _ = validation._out_of_fold(evidence, swapped, raw, categorical, CONFIG)
    for name, p in one.items():
        assert np.array_equal(p[rows], two[name][rows]), name
    assert not np.array_equal(one["fused"], two["fused"])


def test_folds_have_equal_class_shares():
    y = (np.arange(103) < 21).astype(float)
    fold = stratified_folds(y, 5, seed=0)
    assert [int(y[fold == k].sum()) for k in range(5)] in ([4, 4, 4, 4, 5], [4, 4, 5, 4, 4],
        [5, 4, 4, 4, 4], [4, 5, 4, 4, 4], [4, 4, 4, 5, 4])  # fmt: skip
    assert sorted(np.bincount(fold).tolist()) == [20, 20, 21, 21, 21]


def test_against_the_rules_nothing_is_measured(fitted):
    evidence = fitted.evidence
    target = ScoreTarget("rules", np.full(len(evidence), 0.5), np.ones(len(evidence), bool))
    encoder = fitted.profile.model.encoder
    report = validate_fusion(evidence, target, fitted.frame, encoder, CONFIG).report.to_dict()
    assert report["auc"] is None
    assert [note.startswith("NOT VALIDATED") for note in report["notes"]] == [True]
    assert report["validated"] is False


def test_the_fused_score_of_the_population_beats_the_rules(fitted):
    report = fitted.profile.report.to_dict()
    assert report["target"] == "label"
    assert report["auc"] > report["rules_auc"] + 0.02


def test_every_user_is_scored_in_the_order_of_the_frame(fitted):
    scored = score_users(fitted.profile.model, fitted.frame, fitted.embeddings["user"])
    assert scored["user_id"].to_list() == list(fitted.graph.node_ids["user"])
    assert scored.schema["embedding"] == pl.Array(pl.Float32, 64)
    for name in ("model_score", "gate", "final_score"):
        assert scored[name].is_between(0, 1).all()
    names = set(fitted.rules.names)
    assert all(set(hits) <= names for hits in scored["rule_hits"].to_list())


def test_embeddings_of_another_number_of_users_are_refused(fitted):
    with pytest.raises(ValueError, match="embeddings for"):
        score_users(fitted.profile.model, fitted.frame, fitted.embeddings["user"][:5])


def test_the_counts_of_a_profile_frame_are_those_of_the_graph(tables):
    frame = profile_frame(build_graph(tables))
    assert frame["event_counts.call"].to_list() == [2, 1, None, None]
    assert frame["event_counts.click"].to_list() == [None, 1, None, 1]


def test_the_fusion_has_one_gate_a_user():
    fusion = Fusion(Widths(rules=2, embedding=4, attributes=3), hidden=5)
    z_rule, z_nn, g = fusion(torch.ones(6, 2), torch.ones(6), torch.ones(6, 4), torch.ones(6, 3))
    assert z_rule.shape == z_nn.shape == g.shape == (6,)
    assert g[0].item() == pytest.approx(0.5)
    assert math.isfinite(z_nn[0].item())
