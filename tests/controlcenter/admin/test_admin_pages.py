"""What the pages show, and at what cost."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from admin_fixtures import METRICS
from controlcenter_fixtures import make_dataset, make_task
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from stored_reports import least_score, stored

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.reports.line_chart import line_chart
from controlcenter.modelling.reports.metric_tables import metric_tables
from controlcenter.modelling.rules.models import Rule
from controlcenter.modelling.tasks.models import Task, TaskEvent
from controlcenter.modelling.tasks.pages import timeline
from controlcenter.modelling.tasks.pages.training_losses import losses_by_epoch
from controlcenter.platform.accounts.models import Account, Membership
from controlcenter.platform.runs.models import Run
from controlcenter.serving.profiles.contributions import bars
from controlcenter.serving.profiles.models import Explanation, Profile
from ml.contracts.reports.explanation import ExplanationReport
from ml.contracts.reports.score import ScoreReport
from ml.contracts.reports.version import EpochLoss, VersionMetrics

pytestmark = pytest.mark.django_db
EVIL = "<script>alert(1)</script>"


def url(name, *args):
    return reverse(f"admin:{name}", args=args)


def page(client, name, *args) -> str:
    answer = client.get(url(name, *args))
    assert answer.status_code == 200
    return answer.content.decode()


def more_rows(filled) -> None:
    for number in range(5):
        account = Account.objects.create_user(f"more {number}")
        Membership.objects.create(workspace=filled.workspace, account=account, role="viewer")
        dataset = make_dataset(filled.workspace, name=f"more {number}", created_by=account)
        task = make_task(filled.workspace, dataset, created_by=account, state="failed")
        Run.objects.create(
            workspace=filled.workspace,
            owner_id=task.pk,
            kind="building",
            queue="q",
            status="failed",
        )
        Rule.objects.create(
            workspace=filled.workspace, name=f"r{number}", expression="tenure_months > 1", weight=1
        )
        Profile.objects.create(workspace=filled.workspace, user_id=f"more {number}")


@pytest.mark.parametrize(
    "name",
    ["accounts_membership", "datasets_dataset", "tasks_task", "runs_run", "rules_rule",
     "profiles_profile"],
)  # fmt: skip
def test_lists_cost_the_same_however_long(name, alpha, as_):
    client = as_("operator")
    page(client, f"{name}_changelist")
    with CaptureQueriesContext(
        connection,
    ) as few:
        page(client, f"{name}_changelist")
    more_rows(alpha)
    with CaptureQueriesContext(connection) as many:
        page(client, f"{name}_changelist")
    assert len(many) == len(few)
    assert len(many) <= 12


def test_lists_leave_heavy_columns_in_the_database(alpha, as_):
    for name, columns in (
        ("datasets_dataset", ["report", "mapping"]),
        ("profiles_profile", ["embedding", "recommendations"]),
        ("tasks_task", ["traceback"]),
    ):
        with CaptureQueriesContext(connection) as queries:
            page(as_("viewer"), f"{name}_changelist")
        table = name.replace("tasks_task", "tasks_run").replace("runs_run", "tasks_run")
        for column in columns:
            selected = re.compile(rf'"{table}"\."{column}"(,| FROM)')
            assert not [q for q in queries if selected.search(q["sql"])]


@pytest.fixture
def trained_task(alpha):
    """A task in training: one attempt was lost, one runs and reports."""
    task = make_task(alpha.workspace, alpha.rows["datasets.Dataset"], state="training", name="Live")
    common = {"workspace": alpha.workspace, "owner_id": task.pk, "queue": "refresh"}
    Run.objects.create(**common, kind="building", status="done")
    Run.objects.create(**common, kind="training", status="lost", error="its lease ended")
    progress = {"share": 0.5, "message": "epoch 2 of 4", "epoch": 2, "loss": 1.25}
    Run.objects.create(
        **common, kind="training", attempt=2, status="running", progress=progress,
        traceback="Traceback: a long story",
    )  # fmt: skip
    for epoch, loss in ((1, 9.0), (2, 8.0), (1, 2.5), (2, 1.25)):
        data = {"stage": "training", "share": 0.1, "epoch": epoch, "loss": loss}
        TaskEvent.objects.create(task=task, kind="progress", data=data)
    TaskEvent.objects.create(task=task, kind="progress", data={"stage": "building", "share": 1})
    return task


def test_a_live_task_shows_timeline_progress_and_curve(trained_task, as_):
    shown = page(as_("viewer"), "tasks_task_change", trained_task.pk)
    last = TaskEvent.objects.filter(task=trained_task).last()
    stream = f"/api/v1/tasks/{trained_task.pk}/events/?workspace=alpha"
    assert f'data-stream="{stream}" data-last="{last.pk}"' in shown
    for text in ("its lease ended", "a long story", "epoch 2 of 4", "1.2500", "<polyline"):
        assert text in shown
    assert "Cancel" not in shown
    assert "Cancel" in page(as_("operator"), "tasks_task_change", trained_task.pk)


def test_losses_take_the_last_of_a_repeated_epoch(trained_task):
    assert losses_by_epoch(trained_task, None) == {1: 2.5, 2: 1.25}
    done = [EpochLoss(epoch=1, loss=3.0), EpochLoss(epoch=2, loss=2.0)]
    assert losses_by_epoch(trained_task, done) == {1: 3.0, 2: 2.0}
    assert losses_by_epoch(trained_task, []) == {}


def test_metrics_of_a_task_that_cannot_be_read_are_said_and_hide_nothing_else(trained_task, as_):
    Task.objects.filter(pk=trained_task.pk).update(metrics={"losses": [{"epoch": 1}]})
    shown = page(as_("viewer"), "tasks_task_change", trained_task.pk)
    assert "TaskMetrics cannot be read: Object missing required field `loss`" in shown
    assert "epoch 2 of 4" in shown


def test_the_curve_falls_from_the_top_left_to_the_bottom_right():
    chart = line_chart({1: 4.0, 2: 3.0, 3: 2.0})
    points = [tuple(map(float, point.split(","))) for point in chart.points.split()]
    assert points == [(46.0, 10.0), (338.0, 100.0), (630.0, 190.0)]
    assert (chart.high, chart.low, chart.last_value) == ("4.0000", "2.0000", "2.0000")
    assert (chart.first, chart.last) == (1, 3)
    assert line_chart({1: 4.0}) is None
    assert line_chart({1: 2.0, 2: 2.0}) is not None


def test_share_done_counts_stages_and_the_running_one(trained_task):
    assert timeline.share_done(trained_task, trained_task.runs.all()) == pytest.approx(1.5 / 3)
    assert [(s.name, s.status) for s in timeline.stages(trained_task, trained_task.runs.all())] == [
        ("building", "done"),
        ("training", "running"),
        ("embedding", "waiting"),
    ]


def test_a_failed_task_says_why_on_top_and_is_not_followed(alpha, as_):
    task = make_task(
        alpha.workspace, alpha.rows["datasets.Dataset"], state="failed", error=f"No users. {EVIL}"
    )
    shown = page(as_("viewer"), "tasks_task_change", task.pk)
    assert shown.index("No users.") < shown.index("Timeline")
    assert "data-stream" not in shown
    assert EVIL not in shown


def test_a_finished_task_shows_metrics_beside_baselines(alpha, as_):
    task = Task.objects.filter(workspace=alpha.workspace, state="completed").first()
    shown = page(as_("viewer"), "tasks_task_change", task.pk)
    assert "user-orders-product" in shown
    assert "<b>0.9000</b>" in shown
    assert "gradient boosting" in shown


def test_metric_tables_show_the_best_and_bear_what_is_absent():
    metrics = VersionMetrics.from_dict(METRICS)
    links, score, about = metric_tables(metrics.links, metrics.score)
    assert [str(cell) for cell in links.rows[0]] == [
        "user-orders-product", "model", "<b>0.4000</b>", "<b>0.9000</b>",
    ]  # fmt: skip
    assert [str(cell) for cell in score.rows[0]] == ["fused score", "<b>0.8500</b>"]
    assert about.rows == [
        ["target", "label"], ["validated", "yes"], ["evidence from before", "–"],
        ["users", "100"], ["folds", "5"],
    ]  # fmt: skip
    assert metric_tables(None, None) == []
    unmeasured = least_score(validated=False, notes=["not validated: by the rules"])
    (only,) = metric_tables(None, ScoreReport.from_dict(unmeasured))
    assert only.notes == ["Not validated: by the rules."]
    assert only.warning == "This score is not validated."


def test_a_dataset_shows_its_report(alpha, as_):
    quality = {
        "rows_read": 3, "rows_kept": 2, "rows_rejected": 1, "values_rejected": 0,
        "reasons": {"no id": 1}, "value_reasons": {}, "blanks": {},
    }  # fmt: skip
    report = stored("quality_wide") | {
        "tables": {"users": quality},
        "rows_read": 3, "rows_kept": 2, "rows_rejected": 1,
        "rejected": [{"file": "u.csv", "line": 4, "column": "id", "value": EVIL,
                      "reason": "no id", "effect": "row", "table": "users"}],
        "warnings": ["two columns were ignored"],
        "time_range": ["2025-01-01", "2025-02-01"],
        "label": {"positive": 1234},
    }  # fmt: skip
    dataset = make_dataset(alpha.workspace, name="reported", report=report)
    shown = page(as_("viewer"), "datasets_dataset_change", dataset.pk)
    for text in ("no id", "u.csv", "two columns were ignored", "2025-01-01 to", "1,234"):
        assert text in shown
    assert EVIL not in shown
    Dataset.objects.filter(pk=dataset.pk).update(report=report | {"tables": {"users": {}}})
    shown = page(as_("viewer"), "datasets_dataset_change", dataset.pk)
    assert "UploadReport cannot be read: Object missing required field `rows_read`" in shown
    assert "Lineage" in shown


def test_a_profile_shows_what_is_known_and_asks_for_its_explanation(alpha, as_):
    profile = alpha.rows["profiles.Profile"]
    asked = 'data-explanation="/api/v1/users/user-alphamark/explanation/?workspace=alpha"'
    shown = page(as_("analyst"), "profiles_profile_change", profile.pk)
    for text in ("80.5", "rule_alphamark", "app-alphamark", "0.5000", asked):
        assert text in shown
    viewed = page(as_("viewer"), "profiles_profile_change", profile.pk)
    assert "data-explanation" not in viewed
    assert "an analyst may ask for it" in viewed


def test_a_profile_says_since_when_it_may_lack_events(alpha, as_):
    profile = Profile.objects.get(pk=alpha.pk("profiles.Profile"))
    Profile.objects.filter(pk=profile.pk).update(changed_at=None)
    assert "may lack events" not in page(as_("viewer"), "profiles_profile_change", profile.pk)
    since = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
    Profile.objects.filter(pk=profile.pk).update(changed_at=since)
    shown = page(as_("viewer"), "profiles_profile_change", profile.pk)
    assert "may lack events since 2026-03-04 05:06" in shown


def test_a_cached_explanation_is_shown_at_once(alpha, as_):
    profile = Profile.objects.get(pk=alpha.pk("profiles.Profile"))
    contributions = [
        {"player": "monthly_fee", "kind": "attribute", "value": 80.5, "contribution": 0.2},
        {"player": EVIL, "kind": "rule", "value": True, "contribution": -0.1},
    ]
    strongest = [
        {"type": "product", "id": "p1", "name": "Phone", "events": 3, "contribution": 0.07},
        {"type": "user", "id": "u9", "name": None, "events": 1, "contribution": -0.02},
    ]
    result = stored("explanation_evidence") | {
        "base": 0.4,
        "score": 0.5,
        "scale": "probability",
        "contributions": [
            *contributions,
            {"player": "attributes", "kind": "attributes", "contribution": 0.0,
             "value": {"plan": "gold", "fee": 1200.5, "level": None}},
        ],
        "summary": "monthly_fee +0.20",
        "background": {"id": "bg-7f", "kind": "sample", "size": 50, "seed": 0},
        "neighbours": [
            {"player": "orders", "neighbours": 90, "tried": 64, "strongest": strongest}
        ],
        "notes": ["The neighbours are held fixed."],
        "warnings": ["Zeros are nobody."],
    }  # fmt: skip
    Explanation.objects.create(
        profile=profile, model_version=profile.model_version, rule_revision=1,
        profile_revision=profile.revision, state="ready", result=result,
    )  # fmt: skip
    shown = page(as_("viewer"), "profiles_profile_change", profile.pk)
    for text in (
        "+0.2000", "-0.1000", "monthly_fee +0.20", "50 users, sample bg-7f", "Phone (p1)",
        "+0.0700", "u9", "-0.0200", "Of 90 orders the 64 with most events were tried",
        "The neighbours are held fixed.", "Zeros are nobody.", "plan gold", "fee 1,200.5",
    ):  # fmt: skip
        assert text in shown, text
    assert EVIL not in shown
    Explanation.objects.filter(profile=profile).update(result={"base": 0.4})
    shown = page(as_("viewer"), "profiles_profile_change", profile.pk)
    assert "This explanation cannot be shown. ExplanationReport cannot be read: " in shown


def explanation(rows, **more):
    whole = {"base": 0.1, "score": 0.6, "scale": "probability", "additivity_error": 0.0}
    about = {"method": "exact", "background": "bg-1"}
    return ExplanationReport.from_dict({**whole, **about, "contributions": rows, **more})


def test_bars_go_left_and_right_of_the_middle():
    parts = [("a", -0.5), ("b", 1.0), ("c", 0.0)]
    rows = [
        {"player": name, "kind": "rule", "value": True, "contribution": part}
        for name, part in parts
    ]
    found = bars(explanation(rows))
    assert [(bar.player, bar.x, bar.width, bar.up) for bar in found.rows] == [
        ("b", "100.0", "98.0", True),
        ("a", "51.0", "49.0", False),
        ("c", "100.0", "0.0", True),
    ]
    many = bars(explanation(rows * 10))
    assert len(many.rows) == 25
    assert "5 smaller" in many.rest
    assert bars(explanation([])).rows == []


def test_a_version_shows_that_it_is_active_and_offers_the_others(alpha, as_):
    old = alpha.rows["registry.ModelVersion"]
    active = ModelVersion.objects.filter(workspace=alpha.workspace).exclude(pk=old.pk).get()
    shown = page(as_("operator"), "registry_modelversion_change", active.pk)
    assert "moved by alphamark" in shown
    assert "/do/promote/" not in shown
    assert "/do/promote/" in page(as_("operator"), "registry_modelversion_change", old.pk)


def test_the_front_page_shows_the_workspace_and_the_health(alpha, trained_task, beta, as_):
    front = page(as_("viewer"), "index")
    for text in ("User Profile System", "database", "object_store", "Live", "version 2"):
        assert text in front
    assert "betamark" not in front
    assert "Beta" not in front
    other = as_("viewer").get(url("index"), {"workspace": "beta"}).content.decode()
    assert "betamark" not in other
    assert "No workspace" in other
    assert "member of no workspace" in page(as_("lonely"), "index")


def test_names_are_text_and_never_markup(alpha, as_):
    Task.objects.filter(pk=alpha.pk("tasks.Task")).update(name=EVIL)
    assert EVIL not in page(as_("operator"), "tasks_task_changelist")
    assert EVIL not in page(as_("operator"), "tasks_task_change", alpha.pk("tasks.Task"))
    assert EVIL not in page(as_("operator"), "index")


def test_the_console_brings_its_own_script_and_style(client):
    from django.contrib.staticfiles import finders

    for name in ("ups/console.css", "ups/console.js"):
        text = Path(finders.find(name)).read_text()
        assert "http://" not in text
        assert "https://" not in text
