"""The workflows standard and continuous, stage by stage as workers do them."""

import pytest
from msgspec import structs
from rest_framework.test import APIClient

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.registry.queries import active_version
from controlcenter.modelling.tasks import states, versions
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.accounts.models import Account
from controlcenter.platform.accounts.services import create_workspace
from controlcenter.platform.runs.models import Run, RunStatus
from controlcenter.serving.profiles.models import Profile
from ml.contracts.reports.suggestions import Suggestion, SuggestionEvidence
from workers.app import STAGES
from workers.runtime.runner import execute
from workers.stages import embedding, evaluating

pytestmark = pytest.mark.django_db(transaction=True)
SYNTHESIS = {"users": 80, "events": 2500, "products": 10, "apps": 6, "seed": 3}
QUICK = {"epochs": 1, "fusion_epochs": 5}


@pytest.fixture
def client(db):
    account = Account.objects.create_user("anna")
    create_workspace(slug="alpha", name="Alpha", owner=account)
    found = APIClient()
    found.force_authenticate(account)
    answer = found.post("/api/v1/datasets/synthesize/", SYNTHESIS, format="json")
    assert answer.status_code == 202
    do_queued()
    return found


def do_queued(expected="done"):
    while (run := Run.objects.filter(status=RunStatus.QUEUED).first()) is not None:
        module = __import__(STAGES[run.kind], fromlist=["work"])
        assert execute(str(run.pk), module.work) == expected, Run.objects.get(pk=run.pk).error


def begin(client, workflow, **parameters):
    body = {
        "workflow": workflow,
        "dataset": str(Dataset.objects.get(source=None).pk),
        "parameters": QUICK | parameters,
    }
    answer = client.post("/api/v1/tasks/", body, format="json")
    assert answer.status_code == 201, answer.content
    return Task.objects.get(pk=answer.data["id"])


def test_standard_passes_the_path_once(client):
    raw = Dataset.objects.get()
    before = (raw.sha256, raw.report, raw.checked_epoch)
    task = begin(client, "standard")
    do_queued()
    states_seen = list(task.transitions.values_list("target", flat=True))
    assert states_seen[1:] == [
        "optimizing", "building", "training", "embedding", "evaluating", "completed",
    ]  # fmt: skip
    raw.refresh_from_db()
    assert (raw.sha256, raw.report, raw.checked_epoch) == before
    derived = Dataset.objects.get(source=raw)
    version = ModelVersion.objects.get()
    assert version.dataset == derived
    assert active_version(task.workspace.pk) == version
    assert EvaluationReport.objects.get().model_version == version
    assert Profile.objects.filter(model_version=version).count() >= SYNTHESIS["users"]
    told = client.get(f"/api/v1/tasks/{task.pk}/").json()
    assert told["model_version"] == str(version.pk)
    assert [one["iteration"] for one in told["iterations"]] == [0]


def scored(monkeypatch, values, factors=(2, 3, 2, 3)):
    """Iterations that reach these values, as far as training and the report say."""
    original = evaluating.report_on

    def report_on(execution, model, graph):
        report = original(execution, model, graph)
        iteration = execution.claim.iteration
        metrics = {**report.metrics, "links.mrr": values[iteration]}
        suggestion = Suggestion(
            action="augment", automatic=True, edge_type="user-orders-product", because="x",
            factor=factors[iteration], evidence=SuggestionEvidence(),
        )  # fmt: skip
        return structs.replace(report, metrics=metrics, suggestions=[suggestion])

    def value_of(model, metric):
        assert metric == "links.mrr"
        done = Run.objects.filter(kind=states.EMBEDDING, status=RunStatus.DONE).count()
        return values[done]

    monkeypatch.setattr(evaluating, "report_on", report_on)
    monkeypatch.setattr(embedding, "value_of", value_of)


@pytest.mark.parametrize(
    ("values", "bounds", "iterations", "best", "reason"),
    [
        (
            [0.2, 0.3, 0.1],
            {"max_iterations": 3},
            3,
            1,
            "3 iterations are done",
        ),
        ([0.2, 0.3], {"performance_threshold": 0.25}, 2, 1, "links.mrr reached 0.25"),
        ([0.4, 0.3, 0.2, 0.1], {"max_iterations": 9}, 4, 0, "it got worse 3 times in a row"),
    ],
)
def test_continuous_goes_on_until_a_bound_and_keeps_the_best(
    client, monkeypatch, values, bounds, iterations, best, reason
):
    scored(monkeypatch, values)
    task = begin(client, "continuous", **bounds)
    do_queued()
    task = Task.objects.get(pk=task.pk)
    assert task.state == states.COMPLETED
    assert task.iteration == iterations - 1
    assert reason in task.transitions.last().reason
    assert EvaluationReport.objects.filter(task=task).count() == iterations
    assert ModelVersion.objects.filter(task_id=task.pk).count() == iterations
    kept = ModelVersion.objects.get(task_id=task.pk, iteration=best)
    assert active_version(task.workspace.pk) == kept == versions.kept_version(task)
    assert set(Profile.objects.values_list("model_version", flat=True)) == {kept.pk}
    derived = Dataset.objects.filter(source__isnull=False).order_by("created_at")
    assert derived.count() == iterations
    assert not [step for step in derived[0].report["steps"] if step["name"] == "augment"]
    for later in derived[1:]:
        (augment,) = [step for step in later.report["steps"] if step["name"] == "augment"]
        assert sum(change["rows"] for change in augment["changes"]) > 0


def test_what_was_just_done_is_not_done_again(client, monkeypatch):
    scored(monkeypatch, [0.2, 0.3, 0.4], factors=(2, 2, 2))
    task = begin(client, "continuous", max_iterations=4)
    do_queued()
    task = Task.objects.get(pk=task.pk)
    assert (task.state, task.iteration) == (states.COMPLETED, 1)
    assert "suggests what was just done" in task.transitions.last().reason


def test_added_events_are_no_suggestion_to_what_learns_in_time(client, monkeypatch):
    scored(monkeypatch, [0.2, 0.3], factors=(2, 2))
    task = begin(client, "continuous", max_iterations=4, temporal=True)
    do_queued()
    task = Task.objects.get(pk=task.pk)
    assert (task.state, task.iteration) == (states.COMPLETED, 0)
    assert "suggests nothing more" in task.transitions.last().reason


def test_without_a_suggestion_the_loop_ends(client, monkeypatch):
    monkeypatch.setattr(evaluating, "report_on", nothing_to_do(evaluating.report_on))
    task = begin(client, "continuous", max_iterations=4)
    do_queued()
    task = Task.objects.get(pk=task.pk)
    assert (task.state, task.iteration) == (states.COMPLETED, 0)
    assert "suggests nothing more" in task.transitions.last().reason


def nothing_to_do(original):
    def report_on(execution, model, graph):
        advice = Suggestion(
            action="collect", automatic=False, because="few", evidence=SuggestionEvidence()
        )
        return structs.replace(original(execution, model, graph), suggestions=[advice])

    return report_on
