"""Reports of evaluations: recorded once with their run, read by everybody in the workspace."""

import uuid

import pytest
from controlcenter_fixtures import make_task
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from stored_reports import stored

from controlcenter.modelling.evaluations import queries
from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.evaluations.services import record_report
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks.iterations import Score
from controlcenter.platform.runs.commits import Commit
from controlcenter.platform.runs.models import Run
from ml.contracts.reports.evaluation import Evaluation

pytestmark = pytest.mark.django_db
REPORT = Evaluation.from_dict(stored("evaluation"))


@pytest.fixture
def task(workspace, ready_dataset):
    return make_task(workspace, ready_dataset, workflow="continuous")


def commit_of(task, iteration=0, **more):
    run = Run.objects.create(
        workspace=task.workspace, owner_id=task.pk, kind="evaluating", queue="refresh",
        status="done",
        iteration=iteration, **more,
    )  # fmt: skip
    return Commit(claim=None, run=run, owner=task)


def test_a_report_is_of_the_runs_task_and_iteration(task, model_version):
    version = model_version()
    made = record_report(commit_of(task, iteration=2), report=REPORT, version_id=version.pk)
    found = EvaluationReport.objects.get(pk=made.pk)
    assert (found.task, found.iteration, found.model_version) == (task, 2, version)
    assert found.metrics == REPORT.metrics
    assert {"metrics": found.metrics, **found.report} == stored("evaluation")
    assert "metrics" not in found.report
    assert found.created_at is not None


def test_a_version_that_is_not_registered_is_not_named(task, model_version, other_workspace):
    theirs = model_version(of=other_workspace)
    for iteration, version_id in enumerate((uuid.uuid4(), theirs.pk)):
        made = record_report(commit_of(task, iteration), report=REPORT, version_id=version_id)
        assert made.model_version is None


def test_an_iteration_has_one_report(task):
    record_report(commit_of(task), report=REPORT, version_id=uuid.uuid4())
    with pytest.raises(IntegrityError), transaction.atomic():
        record_report(commit_of(task, attempt=2), report=REPORT, version_id=uuid.uuid4())
    record_report(commit_of(task, iteration=1), report=REPORT, version_id=uuid.uuid4())
    assert [one.iteration for one in queries.iterations(task)] == [0, 1]


def test_a_run_without_a_task_has_no_report(workspace):
    run = Run.objects.create(workspace=workspace, kind="evaluating", queue="refresh")
    with pytest.raises(TypeError, match="expected a task"):
        record_report(Commit(claim=None, run=run, owner=None), report=REPORT, version_id=run.pk)


def test_scores_are_those_that_were_measured(task):
    for iteration, metrics in enumerate(({"m": 0.1}, {}, {"m": 0.3})):
        EvaluationReport.objects.create(task=task, iteration=iteration, metrics=metrics, report={})
    assert queries.scores(queries.iterations(task), "m") == [Score(0, 0.1), Score(2, 0.3)]


@pytest.fixture
def three(task, model_version):
    version = model_version()
    return [
        EvaluationReport.objects.create(
            task=task, iteration=number, model_version=version if number else None,
            metrics={"links.mrr": number / 10}, report={"notes": ["so"]},
        )
        for number in range(3)
    ]  # fmt: skip


def test_the_list_has_metrics_and_leaves_the_bodies(as_viewer, three):
    with CaptureQueriesContext(connection) as made:
        answer = as_viewer.get("/api/v1/evaluations/", {"ordering": "iteration"}).json()
    assert [row["iteration"] for row in answer["results"]] == [0, 1, 2]
    assert answer["results"][1]["metrics"] == {"links.mrr": 0.1}
    assert set(answer["results"][0]) == {
        "id", "task", "iteration", "model_version", "metrics", "score_validated", "created_at",
    }  # fmt: skip
    assert not [q for q in made if '"report"' in q["sql"]]


@pytest.mark.parametrize(
    ("metrics", "validated"),
    [
        ({"score": {"validated": False, "target": "rules"}}, False),
        ({"score": {"validated": True}}, True),
        ({"score": {}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_report_says_whether_its_score_is_validated(
    as_viewer, task, model_version, metrics, validated
):
    version = None if metrics is None else model_version()
    ModelVersion.objects.update(metrics=metrics or {})
    made = EvaluationReport.objects.create(
        task=task, iteration=0, model_version=version, metrics={}, report={}
    )
    (listed,) = as_viewer.get("/api/v1/evaluations/").json()["results"]
    for told in (listed, as_viewer.get(f"/api/v1/evaluations/{made.pk}/").json()):
        assert told["score_validated"] is validated


def test_one_of_them_has_its_body(as_viewer, three):
    answer = as_viewer.get(f"/api/v1/evaluations/{three[2].pk}/").json()
    assert answer["report"] == {"notes": ["so"]}
    assert answer["model_version"] == str(three[2].model_version_id)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [({"iteration": 1}, [1]), ({"task": "task"}, [0, 1, 2]), ({"model_version": "it"}, [1, 2]),
     ({"task": str(uuid.uuid4())}, [])],
)  # fmt: skip
def test_filters(as_viewer, three, task, asked, expected):
    known = {"task": str(task.pk), "it": str(three[1].model_version_id)}
    query = {name: known.get(value, value) for name, value in asked.items()}
    answer = as_viewer.get("/api/v1/evaluations/", query | {"ordering": "iteration"})
    assert [row["iteration"] for row in answer.json()["results"]] == expected
