"""Stored reports are read and written as they are; what does not fit is refused in a sentence."""

import copy
import json

import pytest
from stored_reports import stored

from ml.contracts.reports.base import ReportError, read
from ml.contracts.reports.dataset import (
    DerivationReport,
    RowCounts,
    UploadReport,
    dataset_report,
)
from ml.contracts.reports.evaluation import Evaluation
from ml.contracts.reports.explanation import ExplanationReport
from ml.contracts.reports.graph import GraphReport
from ml.contracts.reports.version import TaskMetrics, VersionMetrics

KINDS = {
    "version_by_label": VersionMetrics,
    "version_by_future": VersionMetrics,
    "version_by_rules": VersionMetrics,
    "evaluation": Evaluation,
    "explanation_evidence": ExplanationReport,
    "explanation_groups": ExplanationReport,
    "explanation_flat": ExplanationReport,
    "quality_zip": UploadReport,
    "quality_wide": UploadReport,
    "derivation": DerivationReport,
}
OF_ANY_TYPE = ("value", "parameters", "background")
"""Keys whose values may be a number or a text, and what lies below them."""


def leaves(data, path=()):
    """Path of every plain value."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def put(data, path, value):
    changed = copy.deepcopy(data)
    inside = changed
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return changed


def without(data, *path):
    changed = copy.deepcopy(data)
    inside = changed
    for key in path[:-1]:
        inside = inside[key]
    del inside[path[-1]]
    return changed


@pytest.mark.parametrize("name", KINDS)
def test_a_stored_report_is_written_as_it_was(name):
    report = KINDS[name].from_dict(stored(name))
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False)) == stored(name)


@pytest.mark.parametrize("name", KINDS)
def test_a_value_of_another_type_is_refused_wherever_it_stands(name):
    data = stored(name)
    tried = 0
    for path in leaves(data):
        if any(key in OF_ANY_TYPE for key in path):
            continue
        tried += 1
        with pytest.raises(ReportError, match=r"cannot be read: Expected .+ got `object` - at `\$"):
            KINDS[name].from_dict(put(data, path, {"no": "value"}))
    assert tried > 20


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("odd", [None, [], "text", 3, True])
def test_what_is_no_report_at_all_is_refused(name, odd):
    with pytest.raises(ReportError, match="Expected `object`, got"):
        KINDS[name].from_dict(odd)


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("version_by_label", ("score",), "missing required field `score`"),
        ("version_by_label", ("score", "auc"), r"missing required field `auc` - at `\$.score`"),
        ("version_by_label", ("links", "mean"), r"missing required field `mean` - at `\$.links`"),
        ("evaluation", ("worst", "users", 0, "why"), r"`why` - at `\$.worst.users\[0\]`"),
        ("evaluation", ("intervals",), "missing required field `intervals`"),
        ("explanation_flat", ("contributions", 2, "contribution"), r"\$.contributions\[2\]"),
        ("quality_zip", ("tables", "users", "rows_kept"), "missing required field `rows_kept`"),
        ("derivation", ("steps", 1, "after"), r"required field `after` - at `\$.steps\[1\]`"),
    ],
)  # fmt: skip
def test_a_missing_figure_is_named_with_its_place(name, path, message):
    with pytest.raises(ReportError, match=f"^{KINDS[name].__name__} cannot be read: .*{message}"):
        KINDS[name].from_dict(without(stored(name), *path))


def test_reports_of_older_versions_have_less():
    data = stored("version_by_label")
    for name in ("what", "passed_over", "cut", "horizon_days", "comparison", "calibration",
                 "without_embedding_auc", "notes"):  # fmt: skip
        data["score"].pop(name)
    data["score"]["methods"].pop("without_embedding")
    for name in ("notes", "negatives"):
        data["links"].pop(name)
    for row in [*data["links"]["edge_types"].values(), data["links"]["mean"]]:
        row.pop("ease")
        row.pop("historical", None)
    del data["losses"]
    old = VersionMetrics.from_dict(data)
    assert (old.score.passed_over, old.score.notes, old.score.calibration) == ([], [], None)
    assert (old.score.without_embedding_auc, old.losses) == (None, None)
    assert "ease" not in old.links.edge_types["user-calls-user"].measured()
    assert (old.links.notes, old.links.negatives) == ([], {})


def test_the_oldest_scores_have_the_areas_of_their_methods_alone():
    data = stored("version_by_label")["score"] | {"methods": {}}
    measured = read(VersionMetrics, stored("version_by_label") | {"score": data}).score.measured()
    assert {name: metrics.known() for name, metrics in measured.items()} == {
        "fused": {"auc": data["auc"]},
        "rules": {"auc": data["rules_auc"]},
        "without_embedding": {"auc": data["without_embedding_auc"]},
        "embedding": {"auc": data["embedding_auc"]},
        "boosting": {"auc": data["boosting_auc"]},
    }


def test_an_explanation_of_the_first_version_is_still_read():
    data = stored("explanation_flat") | {"background": "bg-7f"}
    for name in ("view", "summary", "standard_error", "drift", "notes", "warnings"):
        del data[name]
    old = ExplanationReport.from_dict(data)
    assert (old.view, old.summary, old.warnings, old.background) == ("flat", "", [], "bg-7f")


def test_keys_of_newer_versions_are_passed_over():
    data = stored("version_by_label")
    assert VersionMetrics.from_dict(data | {"drift": 3}) == VersionMetrics.from_dict(data)


def test_a_task_has_the_reports_it_has_come_to():
    begun = TaskMetrics.from_dict({"graph": {"nodes": {"user": 3}}})
    assert (begun.links, begun.score, begun.losses) == (None, None, None)
    done = TaskMetrics.from_dict(stored("version_by_label"))
    assert done.links == VersionMetrics.from_dict(stored("version_by_label")).links


def test_the_report_of_a_dataset_is_told_by_how_it_was_made():
    assert isinstance(dataset_report(stored("quality_wide")), UploadReport)
    assert isinstance(dataset_report(stored("derivation")), DerivationReport)
    with pytest.raises(ReportError, match="UploadReport cannot be read: Expected `object`"):
        dataset_report([])


def test_a_part_is_read_under_the_name_it_is_given():
    tables = read(dict[str, RowCounts], stored("derivation")["tables"])
    assert tables["events"].rows_kept > 0
    with pytest.raises(ReportError, match=r"^the tables cannot be read: .*at `\$\[...\]`"):
        read(dict[str, RowCounts], {"users": {}}, what="the tables")


def test_a_graph_that_was_taken_over_has_no_counts():
    assert GraphReport.from_dict({"graph_of": "version 3"}) == GraphReport()
    assert GraphReport().to_dict() == {"nodes": {}, "pairs": {}}
