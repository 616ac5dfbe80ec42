"""A room of its own tells of its alarms through the room of webhooks, beside the tasks."""

import json
import uuid

import pytest
from django.contrib import admin
from django.db import transaction
from django.urls import reverse
from webhook_fixtures import PATH, make_due, send_all, step, verified, walk

from controlcenter.platform.common import clock
from controlcenter.platform.webhooks import outbox, services, subjects
from controlcenter.platform.webhooks.models import Delivery
from controlcenter.platform.webhooks.subjects import Event, Subject

pytestmark = pytest.mark.django_db
ALARMS = Subject(
    type="alarm.changed",
    event_names=("alarm.raised", "alarm.cleared"),
    describe=lambda data: f"{data['pattern']}: {data['level']}",
    url=lambda alarm: f"/alarms/{alarm}/",
)


@pytest.fixture(autouse=True)
def alarms(monkeypatch):
    """Registered for one test."""
    monkeypatch.setattr(subjects, "_subjects", dict(subjects._subjects))
    subjects.register(ALARMS)


def tell(workspace, alarm, number, name, *, made=None):
    """Write an event of an alarm; ``made`` counts the bodies that were made for it."""

    def data():
        if made is not None:
            made.append(name)
        return {"pattern": "burst", "level": number, "alarm": str(alarm)}

    event = Event(workspace.pk, name, alarm, number, clock.now(), data)
    outbox.write(ALARMS, event)


def told(receiver):
    """Type and event of each body: a level of an alarm, a state of a task."""
    bodies = [json.loads(got.body) for got in receiver.got]
    return [(body["type"], body["data"].get("level", body["data"].get("to"))) for body in bodies]


def test_alarms_and_transitions_are_delivered_side_by_side(workspace, task, receiver, hook, sender):
    _, secret = hook(receiver.url)
    alarm = uuid.uuid4()
    with transaction.atomic():
        tell(workspace, alarm, 1, "alarm.raised")
    walk(task, "building")
    with transaction.atomic():
        tell(workspace, alarm, 2, "alarm.cleared")
    walk(type(task).objects.get(pk=task.pk), "training")
    send_all(sender)
    assert all(verified(secret, got) for got in receiver.got)
    came = told(receiver)
    assert [what for kind, what in came if kind == "alarm.changed"] == [1, 2]
    assert [what for kind, what in came if kind == "task.transition"] == ["building", "training"]
    assert set(Delivery.objects.values_list("status", flat=True)) == {"delivered"}


def test_each_webhook_hears_of_what_it_chose(workspace, task, receivers, hook, sender):
    alarms, tasks, every = receivers(), receivers(), receivers()
    hook(alarms.url, "alarms", states=["alarm.cleared"])
    hook(tasks.url, "tasks", states=["completed"])
    hook(every.url, "every")
    for number, name in enumerate(ALARMS.event_names):
        tell(workspace, uuid.UUID(int=1), number, name)
    walk(task)
    send_all(sender)
    assert told(alarms) == [("alarm.changed", 1)]
    assert told(tasks) == [("task.transition", "completed")]
    assert len(every.got) == len(ALARMS.event_names) + len(PATH)


def test_a_subject_that_fails_keeps_no_other_waiting(workspace, task, receiver, hook, sender):
    hook(receiver.url)
    receiver.answer = lambda handler, got: 500 if b"alarm.changed" in got.body else 200
    for number in (7, 8):
        tell(workspace, uuid.UUID(int=1), number, "alarm.raised")
    walk(task)
    for _ in range(2):
        send_all(sender)
        make_due()
    came = told(receiver)
    assert {what for kind, what in came if kind == "alarm.changed"} == {7}
    assert [what for kind, what in came if kind == "task.transition"] == list(PATH)
    receiver.answer = lambda handler, got: 200
    send_all(sender)
    assert told(receiver)[-2:] == [("alarm.changed", 7), ("alarm.changed", 8)]


def test_events_of_two_subjects_may_have_the_same_number(workspace, task, receiver, hook, sender):
    hook(receiver.url)
    step(task, "building")
    number = Delivery.objects.get().event_id
    tell(workspace, uuid.UUID(int=1), number, "alarm.raised")
    tell(workspace, uuid.UUID(int=2), number, "alarm.raised")
    send_all(sender)
    assert sorted(told(receiver)) == [
        ("alarm.changed", number), ("alarm.changed", number), ("task.transition", "building")
    ]  # fmt: skip


def test_an_event_that_is_rolled_back_or_unwanted_leaves_nothing(workspace, receiver, hook):
    made = []
    tell(workspace, uuid.UUID(int=1), 1, "alarm.raised", made=made)
    hook(receiver.url, states=["alarm.cleared"])
    tell(workspace, uuid.UUID(int=1), 2, "alarm.raised", made=made)
    assert made == []
    with transaction.atomic():
        tell(workspace, uuid.UUID(int=1), 3, "alarm.cleared", made=made)
        assert Delivery.objects.count() == 1
        transaction.set_rollback(True)
    assert Delivery.objects.count() == 0


def test_the_api_takes_and_shows_events_of_every_subject(as_owner, workspace):
    body = {"name": "x", "url": "https://receiver.example/in"}
    chosen = ["alarm.raised", "failed"]
    answer = as_owner.post("/api/v1/webhooks/", body | {"states": chosen}, format="json")
    assert (answer.status_code, answer.json()["states"]) == (201, chosen)
    body |= {"name": "y", "states": ["alarm.forgotten"]}
    answer = as_owner.post("/api/v1/webhooks/", body, format="json")
    assert answer.status_code == 400
    alarm = uuid.uuid4()
    tell(workspace, alarm, 5, "alarm.raised")
    listed = as_owner.get("/api/v1/webhooks/deliveries/", {"task": str(alarm)}).json()["results"]
    assert [(row["task"], row["transition"]) for row in listed] == [(str(alarm), 5)]


def test_an_event_has_one_subject():
    subjects.register(ALARMS)
    assert len({name for name, _ in subjects.choices()}) == len(subjects.choices())
    for event_name in ("failed", "alarm.raised", "x" * 33):
        with pytest.raises(ValueError, match=event_name):
            subjects.register(Subject("gate.closed", (event_name,), describe=str))
    with pytest.raises(ValueError, match=r"alarm\.changed"):
        subjects.register(Subject("alarm.changed", ("alarm.moved",), describe=str))


def test_the_admin_says_what_was_told_and_leads_there(workspace, owner, task, receiver, hook):
    webhook, _ = hook(receiver.url)
    alarm = uuid.uuid4()
    tell(workspace, alarm, 5, "alarm.raised")
    step(task, "building")
    ping = services.test(webhook=webhook, account=owner)
    page = admin.site.get_model_admin(Delivery)
    shown = {row.subject_id: (page.what(row), page.about(row)) for row in Delivery.objects.all()}
    assert shown[alarm] == ("burst: 5", f'<a href="/alarms/{alarm}/">burst: 5</a>')
    address = reverse("admin:tasks_task_change", args=[task.pk])
    assert shown[task.pk] == ("first → building", f'<a href="{address}">first → building</a>')
    assert shown[ping.subject_id] == ("hook", "–")
