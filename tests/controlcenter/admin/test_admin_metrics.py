"""What the pages say of a model's numbers: reliability, not validated, what cannot be read."""

import pytest
from django.urls import reverse
from report_cases import LINKS, NO_LINKS, RULES, SCORE
from stored_reports import least_evaluation, stored

from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.serving.profiles.models import Profile

pytestmark = pytest.mark.django_db

BADGE = '<span class="ups-badge ups-bad">not validated</span>'


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
