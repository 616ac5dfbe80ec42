"""Deliveries that were written when tasks were all that webhooks knew keep their ids."""

import uuid

import pytest
from controlcenter_fixtures import make_dataset, make_task
from django.db import IntegrityError, connection
from upgrading import migrate, newest
from webhook_fixtures import step

from controlcenter.platform.webhooks import services
from controlcenter.platform.webhooks.models import Delivery

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE = [("webhooks", "0001_schema")]


@pytest.fixture
def leaves():
    """All migrations, whatever happens in between."""
    nodes = newest()
    yield nodes
    migrate(nodes)


def foreign_keys():
    """Columns of deliveries that must name a row of another table."""
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, "webhooks_delivery")
    return {one["columns"][0] for one in constraints.values() if one["foreign_key"]}


def test_deliveries_of_before_are_there_and_others_can_follow(workspace, owner, leaves):
    fields = {"name": "x", "url": "https://receiver.example/in", "states": ["building", "failed"]}
    webhook, _ = services.create(workspace=workspace, account=owner, fields=fields)
    task = make_task(workspace, make_dataset(workspace))
    step(task, "building")
    ping = services.test(webhook=webhook, account=owner)
    told = Delivery.objects.exclude(pk=ping.pk).get()
    apps = migrate(BEFORE)
    old = apps.get_model("webhooks", "Delivery").objects
    assert foreign_keys() == {"webhook_id", "task_id", "transition_id"}
    assert old.get(pk=told.pk).task_id == task.pk
    assert old.get(pk=told.pk).transition.target == "building"
    assert old.get(pk=ping.pk).task_id is None
    with pytest.raises(IntegrityError):
        old.create(webhook_id=webhook.pk, task_id=uuid.uuid4(), payload={})
    migrate(leaves)
    assert foreign_keys() == {"webhook_id"}
    same = Delivery.objects.get(pk=told.pk)
    assert (same.subject_id, same.event_id) == (told.subject_id, told.event_id)
    assert same.payload == told.payload
    assert list(same.webhook.states) == fields["states"]
    Delivery.objects.create(webhook=webhook, subject_id=uuid.uuid4(), event_id=1, payload={})
    with pytest.raises(IntegrityError):
        Delivery.objects.create(
            webhook=webhook, subject_id=same.subject_id, event_id=same.event_id, payload={}
        )
