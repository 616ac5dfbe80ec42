"""Reads of the event log for consumers, in commit order."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

COLUMNS = ("event_id", "type", "timestamp", "actor", "target", "target_type")

IN_COMMIT_ORDER = """
SELECT event_id::text, type, timestamp, actor, target, target_type
FROM events_event
WHERE workspace_id = %s AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xid, id
"""


@dataclass(frozen=True)
class Activity:
    """How busy the log is."""

    total: int
    last_received_at: datetime | None


def log_rows(workspace_id: uuid.UUID, *, chunk: int = 50_000) -> Iterator[list[tuple[Any, ...]]]:
    """All committed events of a workspace in chunks of rows of ``COLUMNS``."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(IN_COMMIT_ORDER, [workspace_id])
        while rows := cursor.fetchmany(chunk):
            yield rows


def activity(workspace_id: uuid.UUID) -> Activity:
    """Number of events and the time of the newest."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), max(received_at) FROM events_event WHERE workspace_id = %s",
            [workspace_id],
        )
        total, last = cursor.fetchone()
    return Activity(total, last)
