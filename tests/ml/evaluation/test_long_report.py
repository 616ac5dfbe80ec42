import json

import numpy as np
import pytest

from ml.contracts.reports.version import VersionMetrics
from ml.evaluation.long_report import NO_ANSWERS, long_report
from ml.fusion.facts import user_facts
from ml.hgt.model import embed


@pytest.fixture(scope="module")
def given_(fitted):
    observed = fitted.split.observed
    late = embed(fitted.trained.model, fitted.trained.encoder, observed)
    scorers = {
        edge.key: fitted.links.decoder.scorer(edge, observed, late)
        for edge in observed.schema.edges
    }
    metrics = VersionMetrics(links=fitted.links.report, score=fitted.profile.report)
    return scorers, metrics, user_facts(fitted.graph, fitted.rules)


@pytest.fixture(scope="module")
def report(fitted, given_):
    scorers, metrics, facts = given_
    return long_report(fitted.split, scorers, metrics, fitted.profile.held_out, facts, seed=3)


def test_the_same_input_gives_the_same_report(fitted, given_, report):
    scorers, metrics, facts = given_
    again = long_report(fitted.split, scorers, metrics, fitted.profile.held_out, facts, seed=3)
    assert again == report
    assert json.dumps(again.to_dict(), allow_nan=False) == json.dumps(report.to_dict())


def test_what_the_training_measured_is_taken_over(fitted, report):
    assert report.links is fitted.links.report
    assert report.score is fitted.profile.report
    assert report.metrics["links.mrr"] == fitted.links.report.mean.model.mrr
    assert report.notes == []


def test_slices_agree_with_what_was_measured_and_cover_everybody(fitted, report):
    for row in report.slices.links:
        of_type = fitted.links.report.edge_types[row.edge_type]
        methods = of_type if row.slice == "all" else of_type.slices[row.slice]
        assert row.recall_at_20 == pytest.approx(methods.model.recall_at_20)
        assert row.low <= row.recall_at_20 <= row.high
        assert row.baselines["ease"] == methods.ease.recall_at_20
        assert row.sources <= row.pairs
    users = report.slices.users
    everybody = next(row for row in users if row.about == "all")
    assert everybody.auc == pytest.approx(fitted.profile.report.auc)
    assert everybody.boosting_auc == pytest.approx(fitted.profile.report.boosting_auc)
    for about in ("edges", "attributes", "rules"):
        parts = [row for row in users if row.about == about]
        assert sum(row.users for row in parts) == everybody.users
        assert sum(row.positives for row in parts) == everybody.positives


def test_worst_users_are_held_out_users_with_their_outcome(fitted, report):
    labels = dict(zip(fitted.graph.node_ids["user"], fitted.graph.labels.tolist(), strict=True))
    rows = report.worst.users
    assert {row.kind for row in rows} == {"missed", "false alarm"}
    for row in rows:
        assert row.outcome == labels[row.user_id] == (row.kind == "missed")
        assert row.error == pytest.approx(abs(row.outcome - row.score))


def test_a_version_without_answers_says_so(fitted, given_):
    scorers, metrics, facts = given_
    report = long_report(fitted.split, scorers, metrics, None, facts)
    assert report.notes == [NO_ANSWERS]
    assert report.worst.users == report.slices.users == []
    assert report.worst.links


def test_a_model_that_answers_otherwise_is_noted(fitted, given_):
    _, metrics, facts = given_
    targets = {edge.key: fitted.graph.num_nodes[edge.target] for edge in fitted.graph.schema.edges}

    def constant(number):
        return lambda src: np.zeros((len(src), number), np.float32)

    scorers = {key: constant(number) for key, number in targets.items()}
    report = long_report(fitted.split, scorers, metrics, None, facts)
    assert "MRR" in report.notes[0]
    assert "in the training" in report.notes[0]
