"""The page of an evaluation: what it says, draws and links to."""

import html
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from stored_reports import least_evaluation, least_links, least_score, stored

from controlcenter.modelling.evaluations import tables
from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.tasks.iterations import Score

pytestmark = pytest.mark.django_db
EVIL = "<script>alert(1)</script>"

SLICE = {
    "edge_type": "user-orders-product", "source": "user", "slice": "cold 1-4", "pairs": 320,
    "sources": 250, "effective": 210.5, "recall_at_20": 0.08, "low": 0.06, "high": 0.11,
    "baselines": {"popularity": 0.02, "ease": 0.1},
}  # fmt: skip
REPORT = least_evaluation(
    links=least_links({"user-orders-product": {"model": {"mrr": 0.4}, "ease": {"mrr": 0.3}}}),
    score=least_score(
        auc=0.85, ece=0.02,
        reliability=[{"from": 0, "to": 0.1, "count": 9, "predicted": 0.1, "observed": 0.2}],
    ),
    slices={
        "links": [SLICE],
        "users": [
            {
                "about": "edges", "slice": "under 5 edges", "users": 140, "positives": 40,
                "predicted": 0.3, "observed": 0.28, "observed_low": 0.21, "observed_high": 0.36,
                "brier": 0.2, "calibration_error": 0.05, "auc": 0.7, "low": 0.61, "high": 0.78,
                "boosting_auc": 0.72,
            },
            {
                "about": "edges", "slice": "20+ edges", "users": 9, "positives": 1,
                "predicted": 0.3, "observed": 0.1, "observed_low": 0.02, "observed_high": 0.4,
                "brier": 0.2, "calibration_error": 0.05,
            },
        ],
    },
    worst={
        "users": [
            {
                "kind": "missed", "user_id": "user-alphamark", "score": 0.01, "outcome": 1,
                "error": 0.99, "rules": 0.2, "boosting": 0.1, "edges": {"user-calls-user": 3},
                "missing": [], "rule_hits": ["loyal"], "rule_score": -0.3,
                "why": ["gradient boosting errs as well: 0.10"],
            },
            {
                "kind": "false alarm", "user_id": EVIL, "score": 0.99, "outcome": 0,
                "error": 0.99, "rules": 0.9, "boosting": 0.9, "edges": {}, "missing": ["plan"],
                "rule_hits": [], "rule_score": 0.0, "why": ["no edges when it was scored"],
            },
        ],
        "links": [
            {
                "edge_type": "user-orders-product", "source_type": "user",
                "source": "user-alphamark", "target_type": "product", "target": "p1",
                "target_name": "Wheat", "rank": 194.5, "of": 198, "known_before": False,
                "source_targets": 1, "source_edges": 4, "target_sources": 0, "target_place": 9,
                "targets": 200, "common": 0, "why": ["the product is new"],
            }
        ],
    },
    suggestions=[
        {
            "action": "augment", "automatic": True, "edge_type": "user-orders-product",
            "factor": 2, "sources": "1-4", "because": "Recall@20 .08 against .31",
            "evidence": {"metric": "recall_at_20", "gap": 0.23},
        },
        {
            "action": "collect", "automatic": False, "what": "label", "because": "not validated",
            "evidence": {"users": 90},
        },
    ],
    notes=["user-calls-user: MRR 0.1 when asked again"],
)  # fmt: skip


@pytest.fixture
def shown(alpha, as_):
    row = alpha.rows["evaluations.EvaluationReport"]
    EvaluationReport.objects.filter(pk=row.pk).update(report=REPORT)
    return page(as_("viewer"), row.pk)


def page(client, pk):
    answer = client.get(reverse("admin:evaluations_evaluationreport_change", args=[pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def test_it_shows_metrics_beside_baselines_slices_and_calibration(shown):
    for text in (
        "Held-out links: the model beside the baselines",
        "<b>0.4000</b>",
        '<circle class="dot"',
        "0.060 to 0.110",
        "EASE 0.1000",
        "0.610 to 0.780",
        "0.280 (0.210 to 0.360)",
        "User-calls-user: MRR 0.1 when asked again.",
    ):
        assert text in shown, text


def test_it_shows_suggestions_with_their_evidence(shown):
    assert "user-orders-product, factor 2, sources with 1-4 edges" in shown
    assert "Recall@20 .08 against .31" in shown
    assert shown.index("carried out by the next iteration") < shown.index("for people")


def test_the_worst_users_and_edges_lead_to_the_users_page(shown, alpha):
    there = reverse("admin:profiles_profile_change", args=[alpha.pk("profiles.Profile")])
    assert shown.count(f'<a href="{there}">user-alphamark</a>') == 2
    assert "p1 (Wheat)" in shown
    assert re.search(r"194 of 198|195 of 198", shown)
    assert EVIL not in shown
    assert "&lt;script&gt;" in shown


def test_users_of_another_workspace_are_not_linked(alpha, beta, as_):
    row = beta.rows["evaluations.EvaluationReport"]
    EvaluationReport.objects.filter(pk=row.pk).update(report=REPORT)
    there = reverse("admin:profiles_profile_change", args=[alpha.pk("profiles.Profile")])
    shown = page(as_("superuser"), row.pk)
    assert "user-alphamark" in shown
    assert there not in shown


def test_one_iteration_is_no_plot(shown):
    assert "by iteration" not in shown
    assert "Iterations of this task" not in shown


def test_several_iterations_are_drawn_and_linked(alpha, as_):
    row = alpha.rows["evaluations.EvaluationReport"]
    others = [
        EvaluationReport.objects.create(
            task=row.task, iteration=number, metrics={"links.mrr": value}, report={}
        )
        for number, value in ((1, 0.6), (2, 0.5))
    ]
    shown = page(as_("viewer"), row.pk)
    assert "links.mrr by iteration; iteration 0: 0.4000; iteration 1: 0.6000" in shown
    assert shown.count('r="4"') == 3
    assert "0 (this one)" in shown
    best = shown[: shown.index(">best<")].rindex("<tr>")
    assert "0.6000" in shown[best : shown.index(">best<")]
    for other in others:
        there = reverse("admin:evaluations_evaluationreport_change", args=[other.pk])
        assert f'<a href="{there}">{other.iteration}</a>' in shown


def test_the_plot_is_of_the_metric_that_the_task_names(alpha, as_):
    row = alpha.rows["evaluations.EvaluationReport"]
    row.task.parameters = {**row.task.parameters, "performance_metric": "score.auc"}
    row.task.save(update_fields=["parameters"])
    for number, value in ((1, 0.6), (2, 0.5)):
        EvaluationReport.objects.create(
            task=row.task, iteration=number, metrics={"score.auc": value}, report={}
        )
    shown = page(as_("viewer"), row.pk)
    assert 'aria-label="score.auc by iteration; iteration 1: 0.6000; iteration 2: 0.5000"' in shown


def test_the_plot_has_a_point_an_iteration():
    plot = tables.iterations_plot("m", [Score(0, 0.2), Score(1, 0.4), Score(3, 0.3)])
    assert [(dot.x, dot.y) for dot in plot.dots] == [
        ("46.0", "190.0"), ("240.7", "10.0"), ("630.0", "100.0"),
    ]  # fmt: skip
    assert plot.dots[2].text == "iteration 3: 0.3000"
    assert tables.iterations_plot("m", [Score(0, 0.2)]) is None


@pytest.mark.parametrize(
    ("odd", "place"),
    [
        ({}, "missing required field `format`"),
        (REPORT | {"slices": {}}, "missing required field `links` - at `$.slices`"),
        (REPORT | {"suggestions": {}}, "Expected `array`, got `object` - at `$.suggestions`"),
        (REPORT | {"score": least_score(auc="high")}, "got `str` - at `$.score.auc`"),
    ],
)
def test_a_report_that_cannot_be_read_is_said_and_hides_nothing_else(odd, place, alpha, as_):
    row = alpha.rows["evaluations.EvaluationReport"]
    EvaluationReport.objects.create(task=row.task, iteration=1, metrics={}, report=REPORT)
    EvaluationReport.objects.filter(pk=row.pk).update(report=odd, model_version=None)
    shown = page(as_("viewer"), row.pk)
    assert "This report cannot be shown. Evaluation cannot be read: " in shown
    assert place in html.unescape(shown)
    assert "Iterations of this task" in shown


def test_a_stored_report_is_shown_with_all_its_cases(alpha, as_):
    row, report = alpha.rows["evaluations.EvaluationReport"], stored("evaluation")
    EvaluationReport.objects.filter(pk=row.pk).update(report=report)
    shown = html.unescape(page(as_("viewer"), row.pk))
    for one in report["suggestions"]:
        assert one["because"] in shown
    for case in [*report["worst"]["users"], *report["worst"]["links"]]:
        assert "; ".join(case["why"]) in shown
    for part in report["slices"]["links"]:
        assert f"{part['low']:.3f} to {part['high']:.3f}" in shown
    for part in report["slices"]["users"]:
        assert f"{part['calibration_error']:.4f}" in shown


def test_the_list_leaves_the_bodies_and_costs_the_same_however_long(alpha, as_):
    client = as_("viewer")
    address = reverse("admin:evaluations_evaluationreport_changelist")
    row = alpha.rows["evaluations.EvaluationReport"]
    client.get(address)
    with CaptureQueriesContext(connection) as few:
        client.get(address)
    for number in range(1, 6):
        EvaluationReport.objects.create(task=row.task, iteration=number, metrics={}, report={})
    with CaptureQueriesContext(connection) as many:
        assert client.get(address).status_code == 200
    assert len(many) == len(few) <= 12
    assert not [q for q in many if '"evaluations_evaluationreport"."report"' in q["sql"]]
