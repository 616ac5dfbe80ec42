"""The names of metrics: what there is, and what a version reached."""

import pytest
from stored_reports import stored

from ml.contracts.reports.metrics import (
    LINK_METRICS,
    SCORE_METRICS,
    LinkMetrics,
    MetricName,
    ScoreMetrics,
    UnknownMetric,
    stored_name,
)
from ml.contracts.reports.version import VersionMetrics


def test_the_registry_names_every_figure_of_the_reports():
    assert LinkMetrics.__struct_fields__ == LINK_METRICS
    assert ScoreMetrics.__struct_fields__ == SCORE_METRICS


@pytest.mark.parametrize(
    "text",
    ["links.mrr", "links.recall_at_20", "links.user-calls-user.average_precision_historical",
     "links.user-a.b-shop.mrr", "score.auc", "score.calibration_error"],
)  # fmt: skip
def test_a_name_is_read_and_written_alike(text):
    assert str(MetricName.parse(text)) == text


def test_a_name_has_its_parts():
    name = MetricName.parse("links.user-calls-user.mrr")
    assert (name.about, name.edge_type, name.metric) == ("links", "user-calls-user", "mrr")
    assert MetricName.parse("links.mrr").edge_type is None
    assert name.higher_is_better
    assert not MetricName.parse("score.brier").higher_is_better


@pytest.mark.parametrize(
    "text",
    ["", "mrr", "links", "links.", "links.mr", "links.hits@1", "links.ap", "score.mrr",
     "score.user.auc", "scores.auc", "links.user-calls-user.", "score.ece"],
)  # fmt: skip
def test_a_metric_that_does_not_exist_is_refused_with_those_that_do(text):
    with pytest.raises(UnknownMetric, match=r"there is no metric .*links\.<edge type>.*mrr.*brier"):
        MetricName.parse(text)


def test_figures_stand_in_reports_under_short_names():
    assert stored_name(LinkMetrics, "hits_at_1") == "hits@1"
    assert stored_name(LinkMetrics, "average_precision_historical") == "ap_historical"
    assert stored_name(ScoreMetrics, "calibration_error") == "ece"
    assert stored_name(ScoreMetrics, "brier") == "brier"


def version(links=None, score=None):
    data = stored("version_by_label")
    data["links"] |= links or {}
    data["score"] |= score or {}
    return VersionMetrics.from_dict(data)


def row(model):
    return {
        "split": "in time", "held_out": 9, "evaluated": 9, "slices": {}, "model": model,
        "popularity": {"mrr": 0.9},
    }  # fmt: skip


def test_metrics_have_the_names_that_a_task_can_be_told():
    links = {
        "mean": {"model": {"mrr": 0.3, "recall@20": 0.5}, "ease": {"mrr": 0.9}},
        "edge_types": {
            "user-orders-product": row({"mrr": 0.2, "ap_historical": 1}),
            "user-uses-app": row({}),
        },
    }
    score = {"auc": 0.8, "ap": 0.7, "brier": 0.1, "ece": 0.02}
    assert version(links, score).by_name() == {
        "links.mrr": 0.3,
        "links.recall_at_20": 0.5,
        "links.user-orders-product.mrr": 0.2,
        "links.user-orders-product.average_precision_historical": 1.0,
        "score.auc": 0.8,
        "score.average_precision": 0.7,
        "score.brier": 0.1,
        "score.calibration_error": 0.02,
    }


def test_what_was_not_measured_is_left_out():
    score = {"auc": None, "ap": None, "brier": None, "ece": None}
    assert version({"edge_types": {}, "mean": {}}, score).by_name() == {}
    lost = version({"edge_types": {}, "mean": {"model": {"mrr": float("nan")}}}, score)
    assert lost.by_name() == {}


@pytest.mark.parametrize("name", ["version_by_label", "version_by_future", "version_by_rules"])
def test_every_metric_of_a_version_is_one_that_the_registry_knows(name):
    named = VersionMetrics.from_dict(stored(name)).by_name()
    assert [str(MetricName.parse(text)) for text in named] == list(named)


def test_a_real_report_gives_every_metric_of_every_edge_type(fitted):
    links, score = fitted.links.report, fitted.profile.report
    named = VersionMetrics(links=links, score=score).by_name()
    for edge, of_type in links.edge_types.items():
        assert named[f"links.{edge}.mrr"] == of_type.model.mrr
        assert named[f"links.{edge}.recall_at_20"] == of_type.model.recall_at_20
    assert named["links.mrr"] == links.mean.model.mrr
    assert named["score.calibration_error"] == score.calibration_error
    assert len([name for name in named if name.count(".") == 1]) == 12 + 4
