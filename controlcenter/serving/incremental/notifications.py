"""Notifying the holder of a loop: events came, a reader waits, somebody switched."""

import uuid

from django.db import connection

CHANNEL = "ups_incremental"
EVENTS, URGENT = "events", "urgent"

NOTIFY = """
SELECT pg_notify(%s, workspace_id::text || ' ' || %s) FROM incremental_loop
WHERE workspace_id = %s AND wanted
"""


def notify_holder(workspace_id: uuid.UUID, message: str) -> None:
    """Wake the holder once the caller's transaction is committed; nobody there: nothing is sent."""
    with connection.cursor() as cursor:
        cursor.execute(NOTIFY, [CHANNEL, message, workspace_id])
