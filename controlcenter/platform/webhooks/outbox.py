"""What an event decides to tell: rows that come or go with its transaction."""

import json
from typing import Any

from django.db import connection

from controlcenter.platform.common import clock
from controlcenter.platform.webhooks.models import Delivery, Webhook
from controlcenter.platform.webhooks.subjects import Event, Subject

CHANNEL = "ups_webhooks"
PING = "ping"
# KEY SHARE: a webhook that is deleted meanwhile waits, or is not seen; it never undoes an event.
WHO_LISTENS = """
SELECT id FROM webhooks_webhook
WHERE workspace_id = %s AND enabled AND (states = '{}' OR %s = ANY (states))
FOR KEY SHARE
"""


def write(subject: Subject, event: Event) -> None:
    """A delivery for each webhook that wants this event, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(WHO_LISTENS, [event.workspace_id, event.name])
        listeners = [row[0] for row in cursor.fetchall()]
    if not listeners:
        return
    payload: Any = {
        "type": subject.type,
        "timestamp": event.at.isoformat(),
        "data": event.data(),
    }
    Delivery.objects.bulk_create(
        Delivery(
            webhook_id=webhook, subject_id=event.subject_id, event_id=event.id, payload=payload
        )
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


def body_of(payload: dict[str, Any]) -> bytes:
    """The bytes that are signed and sent; the same each time."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def wake() -> None:
    """Have the sender look, once the transaction is committed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
