"""What a transition decides to tell: rows that come or go with its transaction."""

import json
from typing import Any

from django.db import connection

from controlcenter.modelling.tasks.models import Task, Transition
from controlcenter.platform.common import clock
from controlcenter.platform.webhooks.models import Delivery, Webhook

CHANNEL = "ups_webhooks"
TRANSITION, PING = "task.transition", "ping"
# KEY SHARE: a webhook that is deleted meanwhile waits, or is not seen; it never undoes a stage.
WHO_LISTENS = """
SELECT id FROM webhooks_webhook
WHERE workspace_id = %s AND enabled AND (states = '{}' OR %s = ANY (states))
FOR KEY SHARE
"""


def write(task: Task, taken: Transition) -> None:
    """A delivery for each webhook that wants this transition, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(WHO_LISTENS, [task.workspace_id, taken.target])
        listeners = [row[0] for row in cursor.fetchall()]
    if not listeners:
        return
    payload: Any = of_transition(task, taken)
    Delivery.objects.bulk_create(
        Delivery(webhook_id=webhook, task=task, transition=taken, payload=payload)
        for webhook in listeners
    )
    wake()


def write_ping(webhook: Webhook) -> Delivery:
    """A delivery that says that the webhook works."""
    payload: Any = {
        "type": PING,
        "timestamp": clock.now().isoformat(),
        "data": {"webhook": str(webhook.pk), "name": webhook.name},
    }
    delivery = Delivery.objects.create(webhook=webhook, payload=payload)
    wake()
    return delivery


def of_transition(task: Task, taken: Transition) -> dict[str, Any]:
    """What a receiver is told of a transition."""
    # The row knows: the edge may have begun another iteration after ``task`` was read.
    iteration, version = Task.objects.values_list("iteration", "version").get(pk=task.pk)
    created = taken.source == taken.target
    return {
        "type": TRANSITION,
        "timestamp": taken.at.isoformat(),
        "data": {
            "workspace": task.workspace.slug,
            "task": str(task.pk),
            "name": task.name,
            "workflow": task.workflow,
            "mode": task.mode,
            "dataset": str(task.dataset_id) if task.dataset_id else None,
            "transition": taken.pk,
            "from": None if created else taken.source,
            "to": taken.target,
            "iteration": iteration,
            "version": version,
            "actor": taken.actor,
            "reason": taken.reason,
        },
    }


def body_of(payload: dict[str, Any]) -> bytes:
    """The bytes that are signed and sent; the same each time."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def wake() -> None:
    """Have the sender look, once the transaction is committed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
