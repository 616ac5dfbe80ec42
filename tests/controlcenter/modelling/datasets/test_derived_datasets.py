"""Derived datasets in the API and the admin, and what may be deleted when."""

import pytest
from controlcenter_fixtures import make_dataset, make_task
from django.db import connection
from django.db.models import ProtectedError
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from controlcenter.modelling.datasets import deriving
from controlcenter.modelling.datasets.deriving import report_of
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.tasks.working_data import working_dataset
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.runs.models import Run
from ml.contracts.reports.base import read
from ml.contracts.reports.dataset import MadeBy, OptimizingStep

pytestmark = pytest.mark.django_db
URL = "/api/v1/datasets/"
BEFORE = {"users": 5, "products": 2, "apps": 1, "events": 9, "user-calls-user": 9}
STEPS = [
    {
        "name": "clean", "parameters": {}, "before": BEFORE,
        "after": BEFORE | {"users": 4, "events": 6, "user-calls-user": 6}, "because": "",
        "changes": [
            {"what": "removed", "table": "users", "reason": "missing id", "rows": 1,
             "examples": ["''"]},
            {"what": "removed", "table": "events", "reason": "dangling edge", "rows": 3,
             "examples": ["e1", "<b>e2</b>"]},
        ],
    },
    {
        "name": "augment", "parameters": {"factor": 2.0, "sources": "1-4"},
        "before": BEFORE | {"users": 4, "events": 6, "user-calls-user": 6},
        "after": BEFORE | {"users": 4, "events": 8, "user-calls-user": 8},
        "because": "Recall@20 .08 against .31",
        "changes": [
            {"what": "added", "table": "events", "reason": "similar sources", "rows": 2,
             "examples": ["augmented-1"]},
        ],
    },
]  # fmt: skip
DONE = read(list[OptimizingStep], STEPS)


def optimized(task, iteration=0, reuses=None):
    return Run.objects.create(
        workspace=task.workspace, owner_id=task.pk, kind="optimizing", status="done", epoch=7,
        iteration=iteration, queue="refresh", reuses=reuses,
    )  # fmt: skip


def made_by(task):
    return MadeBy(task=str(task.pk), iteration=task.iteration)


@pytest.fixture
def task(workspace, ready_dataset):
    return make_task(workspace, ready_dataset, workflow="continuous", state="training")


@pytest.fixture
def derived(task):
    run = optimized(task)
    Artifact.objects.create(
        workspace=task.workspace, key="tasks/derived", name="users.parquet", size=1,
        sha256="0" * 64, run_id=run.pk, epoch=run.epoch,
    )  # fmt: skip
    return make_dataset(
        task.workspace, name="telecom, optimized 1", source=task.dataset, checked_run_id=run.pk,
        checked_epoch=run.epoch, report=report_of(DONE, made_by(task)).to_dict(),
    )  # fmt: skip


def test_the_report_sums_the_steps_by_table(task):
    report = report_of(DONE, made_by(task)).to_dict()
    for table in [*report["tables"].values(), report]:
        assert (
            table["rows_read"] - table["rows_rejected"] + table["rows_added"]
            == (table["rows_kept"])
        )
    assert report["tables"]["events"]["reasons"] == {"dangling edge": 3}
    assert (report["rows_read"], report["rows_kept"]) == (17, 15)


def test_the_api_shows_source_derived_and_steps(as_viewer, task, derived):
    raw = as_viewer.get(f"{URL}{task.dataset_id}/").json()
    assert (raw["source"], raw["derived"], raw["steps"]) == (None, [str(derived.pk)], [])
    made = as_viewer.get(f"{URL}{derived.pk}/").json()
    assert (made["source"], made["derived"]) == (str(task.dataset_id), [])
    assert made["steps"] == STEPS
    assert made["rows"] == {"users": 4, "products": 2, "apps": 1, "events": 8}
    found = as_viewer.get(URL, {"source": str(task.dataset_id)}).json()["results"]
    assert [row["id"] for row in found] == [str(derived.pk)]
    report = as_viewer.get(f"{URL}{derived.pk}/report/").json()["report"]
    assert report["made_by"] == {"task": str(task.pk), "iteration": 0}
    lineage = as_viewer.get(f"{URL}{derived.pk}/lineage/").json()
    assert lineage["source"] == str(task.dataset_id)


def test_a_list_costs_the_same_however_many_were_derived(as_viewer, task, derived):
    as_viewer.get(URL)
    with CaptureQueriesContext(connection) as few:
        as_viewer.get(URL)
    for number in range(5):
        make_dataset(task.workspace, name=f"more {number}", source=task.dataset)
    with CaptureQueriesContext(connection) as many:
        assert len(as_viewer.get(URL).json()["results"]) == 7
    assert len(many) == len(few)


def test_the_page_shows_source_derived_and_a_table_of_steps(operator, task, derived):
    type(operator).objects.filter(pk=operator.pk).update(is_staff=True)
    client = Client()
    client.force_login(operator)
    made = client.get(reverse("admin:datasets_dataset_change", args=[derived.pk])).content.decode()
    for text in (
        "derived from", str(task.dataset_id), str(task.pk), "Steps", "Recall@20 .08 against .31",
        "factor 2.0, sources 1-4", "user-calls-user", "dangling edge", "augmented-1",
        "&lt;b&gt;e2&lt;/b&gt;",
    ):  # fmt: skip
        assert text in made
    assert "not stored yet, " not in made
    raw = client.get(reverse("admin:datasets_dataset_change", args=[task.dataset_id]))
    assert reverse("admin:datasets_dataset_change", args=[derived.pk]) in raw.content.decode()
    assert "What was removed and added" not in raw.content.decode()


def test_what_a_task_needs_cannot_be_deleted_until_it_is_over(as_operator, task, derived):
    for dataset in (task.dataset, derived):
        answer = as_operator.delete(f"{URL}{dataset.pk}/")
        assert answer.status_code == 409
        assert str(task.pk) in answer.json()["detail"]
    type(task).objects.filter(pk=task.pk).update(state="completed")
    assert as_operator.delete(f"{URL}{derived.pk}/").status_code == 204
    derived.refresh_from_db()
    assert (derived.state, derived.checked_run_id) == ("deleted", None)
    assert not Artifact.objects.filter(key="tasks/derived").exists()
    assert Dataset.objects.get(pk=task.dataset_id).state == "ready"


def test_a_retry_that_takes_the_derived_dataset_over_needs_it_too(as_operator, task, derived):
    type(task).objects.filter(pk=task.pk).update(state="failed")
    retry = make_task(task.workspace, task.dataset, workflow="continuous", state="building")
    optimized(retry, reuses=Run.objects.get(pk=derived.checked_run_id))
    assert working_dataset(retry) == derived
    answer = as_operator.delete(f"{URL}{derived.pk}/")
    assert answer.status_code == 409
    assert str(retry.pk) in answer.json()["detail"]


def test_the_row_of_a_raw_dataset_stays_while_lineage_needs_it(as_operator, task, derived):
    type(task).objects.filter(pk=task.pk).update(state="completed")
    assert as_operator.delete(f"{URL}{task.dataset_id}/").status_code == 204
    raw = Dataset.objects.get(pk=task.dataset_id)
    assert (raw.state, list(raw.derived.all())) == ("deleted", [derived])
    assert Artifact.objects.filter(key="tasks/derived").exists(), "its objects are its own"
    assert Dataset.objects.get(pk=derived.pk).state == "ready"
    with pytest.raises(ProtectedError):
        raw.delete()


def test_each_iteration_works_on_its_own(task, derived):
    assert working_dataset(task) == derived
    task.iteration = 1
    assert working_dataset(task) == task.dataset
    second = optimized(task, iteration=1)
    other = make_dataset(
        task.workspace, name="second", source=task.dataset, checked_run_id=second.pk
    )
    assert working_dataset(task) == other


def test_a_long_name_still_fits():
    room = Dataset._meta.get_field("name").max_length
    assert len("x" * deriving.NAME_LENGTH + f", optimized {10**6}") <= room
