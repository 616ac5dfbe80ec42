"""What the pages say of a model's numbers: slices, comparison, reliability, not validated."""

import pytest
from django.urls import reverse
from stored_reports import least_evaluation, least_links, least_score, stored

from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.reports.metric_tables import metric_tables
from controlcenter.modelling.reports.reliability import reliability
from controlcenter.serving.profiles.models import Profile
from ml.contracts.reports.links import LinkReport
from ml.contracts.reports.score import ScoreReport

pytestmark = pytest.mark.django_db

LINKS = least_links(
    {
        "user-calls-user": {
            "model": {"ndcg@20": 0.2, "mrr": 0.3},
            "ease": {"ndcg@20": 0.4, "mrr": 0.1},
            "slices": {
                "repeat": {"evaluated": 40, "model": {"mrr": 0.3}, "ease": {"mrr": 0.5}},
                "cold 0": {"evaluated": 0},
            },
        }
    },
    notes=["user-calls-user: the baseline EASE is better than the model: NDCG@20 0.4"],
    negatives={"random": "1 a pair", "historical": "1 a pair of the past"},
)
SCORE = least_score(
    auc=0.8, ece=0.02, target="future behaviour",
    what="no event in the 30 days from 2025-03-01 00:00 UTC",
    passed_over=["label churn: no user has a value"],
    comparison={
        "best_part": "boosting", "value": 0.01, "low": -0.02, "high": 0.03, "level": 0.95,
        "resamples": 1000,
    },
    calibration={"method": "Platt scaling", "bins": 10, "brier_before": 0.2, "ece_before": 0.1},
    reliability=[
        {"from": 0.0, "to": 0.1, "count": 400, "predicted": 0.05, "observed": 0.0},
        {"from": 0.9, "to": 1.0, "count": 100, "predicted": 1.0, "observed": 0.5},
    ],
)  # fmt: skip
RULES = least_score(validated=False, target="rules", notes=["NOT VALIDATED: so"])
NO_LINKS = least_links({})
BADGE = '<span class="ups-badge ups-bad">not validated</span>'


def by_title(links=NO_LINKS, score=RULES):
    tables = metric_tables(LinkReport.from_dict(links), ScoreReport.from_dict(score))
    return {table.title.split(":")[0]: table for table in tables}


def test_links_stand_beside_ease_and_the_protocol_is_said():
    table = by_title(LINKS)["Held-out links"]
    assert table.columns == ["edge type", "method", "mrr", "ndcg@20"]
    assert [str(cell) for cell in table.rows[1]] == ["", "EASE", "0.1000", "<b>0.4000</b>"]
    assert (
        table.note
        == "ranked among all; negatives: random: 1 a pair; historical: 1 a pair of the past"
    )
    assert table.notes[0].startswith("User-calls-user: the baseline EASE")


def test_slices_without_pairs_are_left_out():
    table = by_title(LINKS)["Held-out links by slice"]
    (row,) = table.rows
    assert [str(cell) for cell in row] == [
        "user-calls-user", "repeat", "40", "0.3000", "–", "–", "–", "<b>0.5000</b>",
    ]  # fmt: skip


def test_the_score_says_what_it_predicts_and_how_it_compares():
    tables = by_title(score=SCORE)
    (note,) = tables["Score"].notes
    assert "gradient boosting): +0.0100; 95% of 1,000 resamples" in note
    about = dict(map(tuple, tables["How the score was measured"].rows))
    assert about["what a 1 means"].startswith("no event in the 30 days")
    assert about["calibration error before calibration"] == "0.1000"
    assert tables["How the score was measured"].notes == ["Label churn: no user has a value."]
    assert tables["Reliability"].rows[0] == ["0 to 0.1", "400", "0.0500", "0.0000"]
    assert tables["Reliability"].note == "Platt scaling"


def test_the_drawing_puts_what_holds_on_the_diagonal():
    drawn = reliability(ScoreReport.from_dict(SCORE))
    assert [(dot.x, dot.y, dot.r) for dot in drawn.dots] == [
        ("56.0", "210.0", "9.0"),
        ("246.0", "110.0", "6.0"),
    ]
    assert drawn.error == "0.0200"
    bare = reliability(ScoreReport.from_dict(SCORE | {"ece": None}))
    assert (bare.dots, bare.error) == (drawn.dots, "")
    assert reliability(ScoreReport.from_dict(RULES)) is None


def test_the_page_of_a_version_draws_the_reliability(alpha, as_):
    version = alpha.rows["registry.ModelVersion"]
    ModelVersion.objects.filter(pk=version.pk).update(metrics={"score": SCORE, "links": LINKS})
    shown = page(as_("viewer"), "registry_modelversion_change", version.pk)
    assert '<circle class="dot" cx="56.0" cy="210.0"' in shown
    assert "400 users: predicted 0.050, observed 0.000" in shown
    assert "not validated" not in shown


def page(client, name, *args):
    answer = client.get(reverse(f"admin:{name}", args=args))
    assert answer.status_code == 200
    return answer.content.decode()


def test_every_page_says_that_a_score_by_the_rules_is_not_validated(alpha, as_):
    version, profile = alpha.rows["registry.ModelVersion"], alpha.rows["profiles.Profile"]
    report = alpha.rows["evaluations.EvaluationReport"]
    client = as_("viewer")
    places = [
        ("registry_modelversion_change", version.pk),
        ("registry_modelversion_changelist",),
        ("profiles_profile_change", profile.pk),
        ("profiles_profile_changelist",),
        ("evaluations_evaluationreport_change", report.pk),
        ("evaluations_evaluationreport_changelist",),
        ("tasks_task_change", version.task_id),
        ("index",),
    ]
    assert not any("not validated" in page(client, *place) for place in places)
    ModelVersion.objects.filter(workspace=alpha.workspace).update(
        metrics={"links": NO_LINKS, "score": RULES}
    )
    Profile.objects.filter(pk=profile.pk).update(score_basis="rules", final_score=0.5)
    EvaluationReport.objects.filter(pk=report.pk).update(report=least_evaluation(score=RULES))
    for place in places:
        assert "not validated" in page(client, *place), place


def test_look_alikes_say_it_each_for_itself(alpha, as_):
    profile = alpha.rows["profiles.Profile"]
    Profile.objects.create(
        workspace=alpha.workspace, user_id="near", embedding=[1.0] * 64, final_score=0.25,
        model_version=profile.model_version, score_basis="rules",
    )  # fmt: skip
    shown = page(as_("viewer"), "profiles_profile_change", profile.pk)
    assert f"0.2500 {BADGE}" in shown
    assert shown.count("not validated") == 1


def test_the_iterations_of_an_evaluation_say_it_each_for_itself(alpha, as_):
    report = alpha.rows["evaluations.EvaluationReport"]
    EvaluationReport.objects.filter(pk=report.pk).update(metrics={"score.auc": 0.75})
    other = alpha.rows["profiles.Profile"].model_version
    ModelVersion.objects.filter(pk=other.pk).update(metrics={"links": NO_LINKS, "score": RULES})
    EvaluationReport.objects.create(
        task=report.task, iteration=1, model_version=other, metrics={}, report={}
    )
    shown = page(as_("viewer"), "evaluations_evaluationreport_change", report.pk)
    assert shown.count(BADGE) == 1
    assert f">– {BADGE}</td>" in shown


@pytest.mark.parametrize("name", ["version_by_label", "version_by_future", "version_by_rules"])
def test_every_figure_of_a_stored_version_is_on_its_page(name, alpha, as_):
    version, metrics = alpha.rows["registry.ModelVersion"], stored(name)
    ModelVersion.objects.filter(pk=version.pk).update(metrics=metrics)
    shown = page(as_("viewer"), "registry_modelversion_change", version.pk)
    for edge, row in metrics["links"]["edge_types"].items():
        assert edge in shown
        for method in ("model", "popularity", "repeat", "item_knn", "ease"):
            for value in row[method].values():
                assert f"{value:.4f}" in shown
    for row in metrics["score"]["methods"].values():
        for value in row.values():
            assert f"{value:.4f}" in shown
    for value in metrics["score"]["gate"].values():
        assert f"{value:.4f}" in shown
    assert shown.count('class="dot"') == len(metrics["score"]["reliability"])


@pytest.mark.parametrize(
    "odd",
    [{}, [], "text", {"links": None, "score": []}, {"links": {"edge_types": 3}, "score": {}},
     {"links": LINKS}, {"links": LINKS, "score": SCORE | {"auc": "high"}}],
)  # fmt: skip
def test_metrics_that_cannot_be_read_are_said_and_hide_nothing_else(odd, alpha, as_):
    version = alpha.rows["registry.ModelVersion"]
    ModelVersion.objects.filter(workspace=alpha.workspace).update(metrics=odd)
    shown = page(as_("operator"), "registry_modelversion_change", version.pk)
    assert "This report cannot be shown. VersionMetrics cannot be read: " in shown
    assert "/do/promote/" in shown
    assert "cannot be read" in page(as_("viewer"), "registry_modelversion_changelist")
    assert "VersionMetrics cannot be read" in page(as_("viewer"), "index")
