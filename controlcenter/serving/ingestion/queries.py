"""Reads of the event log for consumers, in commit order."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from controlcenter.serving.incremental.marks import BEGINNING, Mark, present

COLUMNS = ("event_id", "type", "timestamp", "actor", "target", "target_type")

BETWEEN = """
    workspace_id = %(workspace)s
    AND xid >= pg_snapshot_xmin(%(since)s::pg_snapshot)
    AND NOT pg_visible_in_snapshot(xid, %(since)s::pg_snapshot)
"""
IN_COMMIT_ORDER = f"""
SELECT event_id::text, type, timestamp, actor, target, target_type
FROM events_event
WHERE {BETWEEN} AND pg_visible_in_snapshot(xid, %(until)s::pg_snapshot)
ORDER BY xid, id
"""  # noqa: S608 (put together from constants)
FIRST_UNSEEN = f"""
SELECT received_at FROM events_event WHERE {BETWEEN} ORDER BY xid, id LIMIT 1
"""  # noqa: S608
LAG = f"""
SELECT count(*), extract(epoch FROM statement_timestamp() - min(received_at))::float8
FROM events_event WHERE {BETWEEN}
"""  # noqa: S608


@dataclass(frozen=True)
class Activity:
    """How busy the log is."""

    total: int
    last_received_at: datetime | None


@dataclass(frozen=True)
class Lag:
    """How far a consumer is behind: events, and seconds since the first of them came."""

    events: int
    seconds: float


def log_rows(
    workspace_id: uuid.UUID,
    *,
    since: Mark = BEGINNING,
    until: Mark | None = None,
    chunk: int = 50_000,
) -> Iterator[list[tuple[Any, ...]]]:
    """A workspace's events that were committed between two marks, in chunks of rows of
    ``COLUMNS``, in commit order. Marks that follow each other skip nothing and repeat nothing.

    Args:
        until: None: the present.
    """
    until = until or present()
    between: dict[str, Any] = {
        "workspace": workspace_id,
        "since": since.snapshot,
        "until": until.snapshot,
    }
    with connection.chunked_cursor() as cursor:
        cursor.execute(IN_COMMIT_ORDER, between)
        while rows := cursor.fetchmany(chunk):
            yield rows


def first_unseen(workspace_id: uuid.UUID, snapshot: str) -> datetime | None:
    """When the first event came that the snapshot does not show; None: it shows all."""
    with connection.cursor() as cursor:
        cursor.execute(FIRST_UNSEEN, {"workspace": workspace_id, "since": snapshot})
        row = cursor.fetchone()
    return row[0] if row else None


def lag(workspace_id: uuid.UUID, snapshot: str) -> Lag:
    """How far a consumer that is at ``snapshot`` is behind the log."""
    with connection.cursor() as cursor:
        cursor.execute(LAG, {"workspace": workspace_id, "since": snapshot})
        events, seconds = cursor.fetchone()
    return Lag(events, max(seconds or 0.0, 0.0))


def activity(workspace_id: uuid.UUID) -> Activity:
    """Number of events and the time of the newest."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), max(received_at) FROM events_event WHERE workspace_id = %s",
            [workspace_id],
        )
        total, last = cursor.fetchone()
    return Activity(total, last)
