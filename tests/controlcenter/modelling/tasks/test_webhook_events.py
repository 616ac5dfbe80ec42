"""The bodies that tell of a task's transitions, byte by byte, and what they cost."""

import json

import pytest
from controlcenter_fixtures import make_task
from django.db import transaction

from controlcenter.modelling.tasks import services, states
from controlcenter.modelling.tasks.machine import move, version_of
from controlcenter.modelling.tasks.models import Task, Transition
from controlcenter.modelling.tasks.spec import parameters
from controlcenter.modelling.tasks.webhook_events import TRANSITIONS, tell
from controlcenter.platform.webhooks import services as webhooks
from controlcenter.platform.webhooks import subjects
from controlcenter.platform.webhooks.models import Delivery
from controlcenter.platform.webhooks.outbox import body_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def webhook(workspace, owner):
    """``webhook("failed", …)`` wants these events; without any: all."""

    def make(*events):
        fields = {"name": "x", "url": "https://receiver.example/in", "states": list(events)}
        return webhooks.create(workspace=workspace, account=owner, fields=fields)[0]

    return make


def begin(task, target):
    with transaction.atomic():
        move(task, target, expected=version_of(task), actor="worker 1", reason="“so”")


def body(task, transition, *, source, actor, reason, version):
    """As receivers have always got it."""
    return json.dumps(
        {
            "type": "task.transition",
            "timestamp": transition.at.isoformat(),
            "data": {
                "workspace": "alpha", "task": str(task.pk), "name": "näher",
                "workflow": "refresh", "mode": "full_retrain", "dataset": str(task.dataset_id),
                "transition": transition.pk, "from": source, "to": transition.target,
                "iteration": 0, "version": version, "actor": actor, "reason": reason,
            },
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()  # fmt: skip


def test_creation_and_edges_have_these_bodies(workspace, owner, ready_dataset, webhook):
    webhook()
    spec = services.TaskSpec(
        "refresh", parameters.defaults(), dataset=ready_dataset, name="näher", start=False
    )
    task, _ = services.create(workspace=workspace, account=owner, spec=spec)
    begin(task, states.BUILDING)
    created, began = Transition.objects.filter(task=task)
    first, second = Delivery.objects.order_by("event_id")
    assert body_of(first.payload) == body(
        task, created, source=None, actor="owner", reason="created", version=0
    )
    assert body_of(second.payload) == body(
        task, began, source="pending", actor="worker 1", reason="“so”", version=1
    )
    for delivery, transition in ((first, created), (second, began)):
        assert (delivery.subject_id, delivery.event_id) == (task.pk, transition.pk)


def test_a_webhook_may_choose_every_state_and_nothing_else_of_tasks():
    assert subjects.get("task.transition") is TRANSITIONS
    assert TRANSITIONS.event_names == tuple(state for state, _ in states.CHOICES)


def test_the_state_that_is_entered_is_what_a_webhook_chooses(workspace, ready_dataset, webhook):
    webhook(states.PENDING, states.TRAINING)
    task = make_task(workspace, ready_dataset)
    for target in (states.BUILDING, states.TRAINING):
        begin(Task.objects.get(pk=task.pk), target)
    assert [row.payload["data"]["to"] for row in Delivery.objects.all()] == ["training"]


def test_a_transition_costs_one_look_where_nobody_listens(
    workspace, ready_dataset, webhook, django_assert_num_queries
):
    task = make_task(workspace, ready_dataset)
    transition = Transition.objects.create(
        task=task, source="pending", target="building", actor="x"
    )
    webhook(states.COMPLETED)
    with django_assert_num_queries(1):
        tell(task, transition)
    assert Delivery.objects.count() == 0
