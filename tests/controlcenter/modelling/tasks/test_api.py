"""Tasks as a client sees them."""

import uuid

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext

from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.stream import stream
from controlcenter.platform.runs import claims, endings
from controlcenter.platform.runs.models import Outbox, RunStatus

pytestmark = pytest.mark.django_db
URL = "/api/v1/tasks/"


@pytest.fixture
def client(as_operator):
    return as_operator


def create(client, dataset, **more):
    body = {"dataset": str(dataset.pk) if dataset else None, **more}
    return client.post(URL, body, format="json")


def test_create_queues_the_first_stage_with_its_message(client, ready_dataset):
    answer = create(client, ready_dataset, name="Nightly")
    assert answer.status_code == 201
    assert answer["Location"] == f"{URL}{answer.data['id']}/?workspace=alpha"
    assert answer.data["state"] == "pending"
    assert answer.data["waiting"]["reason"].startswith("queued: waits for a free worker")
    task = Task.objects.get(pk=answer.data["id"])
    assert Outbox.objects.filter(run_id=task.runs.get().pk).count() == 1


def test_the_same_key_gives_the_same_task(client, ready_dataset):
    first = client.post(
        URL,
        {"dataset": str(ready_dataset.pk)},
        format="json",
        HTTP_IDEMPOTENCY_KEY="k1",
    )
    again = client.post(
        URL, {"dataset": str(ready_dataset.pk)}, format="json", HTTP_IDEMPOTENCY_KEY="k1"
    )
    other = client.post(
        URL,
        {"dataset": str(ready_dataset.pk), "name": "another"},
        format="json",
        HTTP_IDEMPOTENCY_KEY="k1",
    )
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.data["id"] == again.data["id"]
    assert Task.objects.count() == 1


def test_a_key_gives_its_task_also_when_the_request_would_no_longer_do(client, ready_dataset):
    body = {"dataset": str(ready_dataset.pk)}
    first = client.post(URL, body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    type(ready_dataset).objects.filter(pk=ready_dataset.pk).update(state="deleted")
    again = client.post(URL, body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert (again.status_code, again.data["id"]) == (200, first.data["id"])
    assert client.post(URL, body, format="json").status_code == 409


@pytest.mark.parametrize(
    ("parameters", "field", "words"),
    [
        ({"epochs": 0}, "parameters.epochs", "got 0, expected a whole number from 1 to 1000"),
        ({"epochs": 2.5}, "parameters.epochs", "got 2.5"),
        (
            {"scope": "sampled", "sample_ratio": 1.5},
            "parameters.sample_ratio",
            "got 1.5, expected a number from 0.01 to 1.0",
        ),
        ({"sample_ratio": 0.5}, "parameters.sample_ratio", "set scope to 'sampled'"),
        ({"epoch": 3}, "parameters.epoch", "is not known here"),
        ({"learning_rate": "fast"}, "parameters.learning_rate", "got 'fast'"),
        ({"learning_rate": "nan"}, "parameters.learning_rate", "got 'nan'"),
        ({"learning_rate": 10**400}, "parameters.learning_rate", "got 1000000"),
        ({"seed": -1}, "parameters.seed", "got -1"),
        ({"device": "tpu"}, "parameters.device", "tpu"),
        ({"temporal": True, "keep_timestamps": False}, "parameters.temporal", "leave keep_times"),
        ({"temporal": True, "mode": "embedding_only"}, "parameters.temporal", "trains nothing"),
        ({"temporal": "sometimes"}, "parameters.temporal", "valid boolean"),
        ({"processes": 0}, "parameters.processes", "got 0, expected a whole number from 1 to 64"),
        ({"processes": 65}, "parameters.processes", "got 65"),
    ],
)
def test_out_of_range_names_field_value_and_range(client, ready_dataset, parameters, field, words):
    answer = create(client, ready_dataset, parameters=parameters)
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    errors = {error["field"]: error["detail"] for error in answer.json()["errors"]}
    assert words in errors[field]
    assert not Task.objects.exists()


def test_an_unknown_dataset_and_somebody_elses_are_the_same_404(client, as_stranger, ready_dataset):
    unknown = client.post(URL, {"dataset": str(uuid.uuid4())}, format="json")
    foreign = as_stranger.post(URL, {"dataset": str(ready_dataset.pk)}, format="json")
    assert (unknown.status_code, foreign.status_code) == (404, 404)


def test_a_refresh_without_a_dataset(client):
    answer = client.post(URL, {}, format="json")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "dataset"


@pytest.mark.parametrize("workflow", ["standard", "continuous"])
def test_the_long_workflows_begin_with_optimizing(client, ready_dataset, workflow):
    answer = create(client, ready_dataset, workflow=workflow)
    assert answer.status_code == 201
    assert Task.objects.get().runs.get().kind == "optimizing"
    assert create(client, None, workflow=workflow).status_code == 400


def test_suspend_resume_and_retry_by_the_api(client, ready_dataset):
    task = create(client, ready_dataset).data["id"]
    answer = client.post(f"{URL}{task}/suspend/")
    assert answer.status_code == 409
    assert "Cancel it if it shall not begin" in answer.json()["detail"]
    held = claims.claim(Task.objects.get(pk=task).runs.get().pk, worker="worker")
    assert client.post(f"{URL}{task}/suspend/").json()["suspend_requested_at"]
    endings.release(held, reason="Stopped on request.")
    told = client.get(f"{URL}{task}/").json()
    assert (told["state"], told["waiting"]["reason"]) == (
        "suspended",
        "suspended: POST to resume/",
    )
    assert "free worker" in client.post(f"{URL}{task}/resume/").json()["waiting"]["reason"]
    assert client.post(f"{URL}{task}/retry/").status_code == 409
    client.post(f"{URL}{task}/cancel/")
    again = client.post(f"{URL}{task}/retry/")
    assert (again.status_code, again.json()["retry_of"]) == (201, task)


def test_a_fusion_needs_a_model_version(client):
    answer = client.post(URL, {"workflow": "fusion"}, format="json")
    assert answer.status_code == 409
    assert "run a full refresh first" in answer.json()["detail"]


def test_a_second_task_waits_and_says_for_what(client, ready_dataset):
    first = create(client, ready_dataset).data["id"]
    second = create(client, ready_dataset).data["id"]
    waiting = client.get(f"{URL}{second}/").data["waiting"]
    assert waiting["place"] == 1
    assert [str(task) for task in waiting["behind"]] == [first]


def test_start_false_waits_for_start(client, ready_dataset):
    task = create(client, ready_dataset, start=False).data
    assert task["waiting"]["reason"] == "not started: POST to start/"
    assert not Outbox.objects.exists()
    for _ in range(2):
        assert client.post(f"{URL}{task['id']}/start/").status_code == 200
    assert Outbox.objects.count() == 1


def test_executions_transitions_and_cancel(client, ready_dataset):
    task = create(client, ready_dataset).data["id"]
    assert client.post(f"{URL}{task}/cancel/").data["state"] == "cancelled"
    assert client.post(f"{URL}{task}/cancel/").status_code == 200
    assert client.post(f"{URL}{task}/start/").status_code == 409
    assert [r["status"] for r in client.get(f"{URL}{task}/executions/").data] == ["cancelled"]
    reasons = [t["reason"] for t in client.get(f"{URL}{task}/transitions/").data]
    assert reasons == ["created", "cancelled by operator"]


def test_lists_filter_order_and_page(client, ready_dataset):
    ids = [create(client, ready_dataset, priority=p).data["id"] for p in (0, 5, 3)]
    client.post(f"{URL}{ids[0]}/cancel/")
    pending = client.get(URL, {"state": "pending", "ordering": "-priority"}).data
    assert [t["priority"] for t in pending["results"]] == [5, 3]
    assert len(client.get(URL, {"page_size": 1}).data["results"]) == 1
    assert client.get(URL, {"state": "nonsense"}).status_code == 400


def test_a_list_takes_the_same_queries_for_one_and_for_many(
    client, ready_dataset, django_assert_num_queries
):
    create(client, ready_dataset)
    with CaptureQueriesContext(connection) as one:
        client.get(URL)
    queries = len(one)
    for _ in range(5):
        create(client, ready_dataset)
    with django_assert_num_queries(queries):
        client.get(URL)


@pytest.mark.django_db(transaction=True)
def test_the_stream_tells_everything_once_and_ends(client, ready_dataset):
    task_id = create(client, ready_dataset).data["id"]
    task = Task.objects.get(pk=task_id)
    held = claims.claim(task.runs.get(status=RunStatus.QUEUED).pk, worker="w")
    claims.beat(held, [{"share": 0.1, "epoch": 1}, {"share": 0.2, "epoch": 2}])
    endings.fail(held, sentence="enough")

    async def read(after):
        return [part async for part in stream(task.pk, after)]

    told = async_to_sync(read)(0)
    kinds = [part.split("event: ")[1].split("\n")[0] for part in told if "event: " in part]
    assert kinds == ["state", "state", "progress", "progress", "state", "end"]
    last = [part.split("id: ")[1].split("\n")[0] for part in told if "id: " in part]
    later = async_to_sync(read)(int(last[2]))
    assert [part for part in later if "id: " in part] == [part for part in told if "id: " in part][
        3:
    ]
