"""Reports of a real training come back from JSON as they were."""

import json

import pytest

from ml.contracts.reports.evaluation import Evaluation
from ml.contracts.reports.explanation import ExplanationReport
from ml.contracts.reports.links import LinkReport
from ml.contracts.reports.score import ScoreReport
from ml.contracts.reports.version import EpochLoss, VersionMetrics
from ml.evaluation.long_report import long_report
from ml.explanation.explanation import Subject, explain_flat, explain_groups
from ml.fusion.background import zero_background
from ml.fusion.facts import user_facts
from ml.hgt.model import embed


def again(report):
    """As a database would give it back."""
    return type(report).from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))


@pytest.fixture(scope="module")
def metrics(fitted):
    losses = [
        EpochLoss(epoch=p.epoch, loss=p.loss, by_edge_type=p.losses_by_edge_type)
        for p in fitted.trained.history
    ]
    return VersionMetrics(links=fitted.links.report, score=fitted.profile.report, losses=losses)


def test_the_reports_of_a_training(metrics):
    assert again(metrics) == metrics
    assert isinstance(metrics.links, LinkReport)
    assert isinstance(metrics.score, ScoreReport)
    for row in metrics.links.edge_types.values():
        assert list(row.measured()) == ["model", "popularity", "repeat", "item_knn", "ease"]
        assert len(row.model.known()) == 12
        assert sum(row.slices[name].evaluated for name in ("repeat", "new")) == row.evaluated
    assert set(metrics.score.measured()) == {
        "fused", "rules", "embedding", "boosting", "without_embedding",
    }  # fmt: skip
    assert metrics.score.fused == metrics.score.measured()["fused"]
    assert len(metrics.losses) == 3


def test_the_long_report(fitted, metrics):
    observed = fitted.split.observed
    late = embed(fitted.trained.model, fitted.trained.encoder, observed)
    scorers = {
        edge.key: fitted.links.decoder.scorer(edge, observed, late)
        for edge in observed.schema.edges
    }
    facts = user_facts(fitted.graph, fitted.rules)
    report = long_report(fitted.split, scorers, metrics, fitted.profile.held_out, facts)
    assert isinstance(report, Evaluation)
    assert again(report) == report
    assert report.worst.links
    assert report.worst.users
    assert report.slices.users


def test_explanations(fitted):
    profile, evidence = fitted.profile, fitted.evidence.take([3])
    subject = Subject(evidence, {"plan": "gold", "monthly_fee": 3.5}, stored_score=0.5)
    for report in (
        explain_flat(profile.model, subject, profile.background, pairs=60),
        explain_groups(profile.model, subject, zero_background(evidence)),
    ):
        assert isinstance(report, ExplanationReport)
        assert again(report) == report
        total = sum(row.contribution for row in report.contributions)
        assert report.base + total == pytest.approx(report.score, abs=1e-6)
