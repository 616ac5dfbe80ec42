"""Schedules by the API: validated as tasks are, changed in part, fired by hand, listed."""

import pytest
from controlcenter_fixtures import make_dataset, make_schedule

from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.schedules.models import Fire, Schedule
from controlcenter.platform.schedules.services import MAX_SCHEDULES

pytestmark = pytest.mark.django_db
URL = "/api/v1/schedules/"
REASON = {"reason": "new data"}


@pytest.fixture
def client(as_operator):
    return as_operator


@pytest.fixture
def body(ready_dataset):
    return {
        "name": "nightly",
        "cron": "0 3 * * MON-FRI",
        "timezone": "Europe/Berlin",
        "dataset": str(ready_dataset.pk),
        "priority": 5,
        "parameters": {"epochs": 3},
    }


def errors(answer):
    assert answer.status_code == 400, answer.json()
    return {one["field"]: one["detail"] for one in answer.json()["errors"]}


def test_a_schedule_is_created_with_defaults_and_its_next_times(client, body):
    answer = client.post(URL, body, format="json")
    assert answer.status_code == 201
    told = answer.json()
    assert told.items() >= {"missed": "make_up", "overlap": "wait", "enabled": True}.items()
    assert told["workflow"] == "refresh"
    assert (told["parameters"]["epochs"], told["parameters"]["mode"]) == (3, "full_retrain")
    assert told["created_by"] == "operator"
    assert told["upcoming"][0] == told["next_at"]
    assert len(told["upcoming"]) == 5
    assert client.get(answer["Location"]).json() == told
    assert AuditEntry.objects.filter(action="schedule.create", actor="operator").exists()


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"cron": "61 * * * *"}, "cron", "bad minute"),
        ({"cron": "@hourly"}, "cron", "expected five fields"),
        ({"cron": "0 0 31 2 *"}, "cron", "day-of-month"),
        ({"timezone": "Berlin"}, "timezone", "expected a name such as Europe/Berlin"),
        ({"missed": "twice"}, "missed", "not a valid choice"),
        ({"overlap": "kill"}, "overlap", "not a valid choice"),
        ({"name": ""}, "name", "blank"),
        ({"start": False}, "start", "not known here"),
        ({"parameters": {"epochs": 0}}, "parameters.epochs", "from 1 to 1000"),
        ({"parameters": {"mode": "half"}}, "parameters.mode", "not a valid choice"),
        ({"parameters": {"sample_ratio": 0.5}}, "parameters.sample_ratio", "sampled"),
        ({"priority": 101}, "priority", "100"),
        ({"workflow": "guess"}, "workflow", "not a valid choice"),
        ({"dataset": None}, "dataset", "needs a dataset"),
    ],
)
def test_what_is_not_right_is_named(client, body, change, field, message):
    found = errors(client.post(URL, body | change, format="json"))
    assert message in found[field]
    assert Schedule.objects.count() == 0


@pytest.mark.parametrize("change", [{"workflow": "fusion", "dataset": None}, {"dataset": "bad"}])
def test_what_a_task_is_refused_for_a_schedule_is_refused_for(client, body, change, workspace):
    if change.get("dataset") == "bad":
        change = {"dataset": str(make_dataset(workspace, name="bad", state="invalid").pk)}
    task = {name: value for name, value in (body | change).items() if name in {
        "workflow", "dataset", "priority", "parameters"
    }}  # fmt: skip
    by_task = client.post("/api/v1/tasks/", task, format="json")
    by_schedule = client.post(URL, body | change, format="json")
    assert (by_task.status_code, by_task.json()["detail"]) == (409, by_schedule.json()["detail"])
    assert by_schedule.status_code == 409


def test_names_are_unique_in_a_workspace_and_their_number_is_limited(
    client, body, workspace, ready_dataset
):
    client.post(URL, body, format="json")
    assert "already" in errors(client.post(URL, body, format="json"))["name"]
    for number in range(MAX_SCHEDULES - 1):
        make_schedule(workspace, ready_dataset, name=f"s{number}")
    answer = client.post(URL, body | {"name": "one more"}, format="json")
    assert (answer.status_code, "at most 100" in answer.json()["detail"]) == (409, True)


def test_a_part_is_changed_and_the_rest_stays(client, body):
    made = client.post(URL, body, format="json").json()
    one = f"{URL}{made['id']}/"
    told = client.patch(one, {"cron": "30 4 * * *"}, format="json").json()
    assert (told["cron"], told["timezone"]) == ("30 4 * * *", "Europe/Berlin")
    assert told["parameters"] == made["parameters"]
    told = client.patch(one, {"parameters": {"seed": 9}}, format="json").json()
    assert told["parameters"]["seed"] == 9
    assert "epochs" not in told["parameters"]
    assert (
        "from 0"
        in errors(client.patch(one, {"parameters": {"seed": -1}}, format="json"))["parameters.seed"]
    )
    assert "not known" in errors(client.patch(one, {"crom": "* * * * *"}, format="json"))["crom"]
    assert client.patch(one, [1], format="json").status_code == 400
    told = client.put(one, body | {"name": "weekly"}, format="json").json()
    assert (told["name"], told["cron"]) == ("weekly", body["cron"])


def test_it_can_be_disabled_also_when_its_dataset_is_gone(client, body, ready_dataset):
    one = f"{URL}{client.post(URL, body, format='json').json()['id']}/"
    type(ready_dataset).objects.update(state="deleted")
    told = client.patch(one, {"enabled": False}, format="json").json()
    assert (told["enabled"], told["next_at"], told["upcoming"]) == (False, None, [])
    answer = client.patch(one, {"enabled": True}, format="json")
    assert (answer.status_code, "is deleted" in answer.json()["detail"]) == (409, True)
    actions = AuditEntry.objects.filter(target_type="schedules.Schedule").values_list("action")
    assert [action for (action,) in actions] == ["schedule.disable", "schedule.create"]


def test_firing_by_hand_needs_a_reason_and_makes_one_task_a_key(client, body):
    one = f"{URL}{client.post(URL, body, format='json').json()['id']}/"
    assert "required" in errors(client.post(f"{one}fire/", {}, format="json"))["reason"]
    first = client.post(f"{one}fire/", REASON, format="json", HTTP_IDEMPOTENCY_KEY="k")
    again = client.post(f"{one}fire/", REASON, format="json", HTTP_IDEMPOTENCY_KEY="k")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    task = Task.objects.get()
    assert (str(task.pk), task.name, task.priority) == (first.json()["task"], "nightly", 5)
    other = {"reason": "else"}
    answer = client.post(f"{one}fire/", other, format="json", HTTP_IDEMPOTENCY_KEY="k")
    assert answer.status_code == 409


def test_fires_are_listed_newest_first_in_pages(client, body):
    made = client.post(URL, body, format="json").json()
    for day in (1, 2, 3):
        Fire.objects.create(
            schedule_id=made["id"], fire_time=f"2026-01-0{day}T02:00:00Z", outcome="skipped"
        )
    told = client.get(f"{URL}{made['id']}/fires/?page_size=2").json()
    assert told["count"] == 3
    assert [fire["fire_time"][8:10] for fire in told["results"]] == ["03", "02"]


def test_it_is_deleted(client, body):
    one = f"{URL}{client.post(URL, body, format='json').json()['id']}/"
    assert client.delete(one).status_code == 204
    assert client.get(one).status_code == 404
    assert AuditEntry.objects.filter(action="schedule.delete").exists()


def test_a_list_costs_the_same_however_long(
    client, workspace, ready_dataset, owner, django_assert_num_queries
):
    for number in range(3):
        make_schedule(workspace, ready_dataset, name=f"s{number}", created_by=owner)
    with django_assert_num_queries(4):
        assert client.get(URL).json()["count"] == 3
