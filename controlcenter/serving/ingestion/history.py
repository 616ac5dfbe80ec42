"""The events of one user, as actor or as target."""

import uuid
from datetime import datetime
from typing import Any

from django.db import connection

COLUMNS = ("type", "actor", "target", "target_type", "timestamp")

Row = tuple[str, str, str, str, datetime]

OF_USER = """
SELECT type, actor, target, target_type, timestamp FROM (
    SELECT type, actor, target, target_type, timestamp, xid, id FROM events_event
    WHERE workspace_id = %(workspace)s AND actor = %(user)s {unseen}
    UNION ALL
    SELECT type, actor, target, target_type, timestamp, xid, id FROM events_event
    WHERE workspace_id = %(workspace)s AND target = %(user)s AND target_type = 'user'
        AND actor <> %(user)s {unseen}
) AS own ORDER BY xid, id
"""
UNSEEN = """
    AND NOT pg_visible_in_snapshot(xid, %(since)s::pg_snapshot)
    AND received_at < coalesce(%(before)s, 'infinity'::timestamptz)
"""


def events_of(
    workspace_id: uuid.UUID, user_id: str, *, since: str, before: datetime | None
) -> list[Row]:
    """Rows of ``COLUMNS`` of the events that a user did and of those that others did to it, in the
    order in which they came.

    Args:
        since: A snapshot of the database; what it shows is left out.
        before: When an event came that is not wanted any more, nor any later one; None: all are.
    """
    names: dict[str, Any] = {
        "workspace": workspace_id,
        "user": user_id,
        "since": since,
        "before": before,
    }
    with connection.cursor() as cursor:
        cursor.execute(OF_USER.format(unseen=UNSEEN), names)
        rows: list[Row] = cursor.fetchall()
    return rows
