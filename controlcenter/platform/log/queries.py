"""Reads of the whole log, in commit order. ``edges`` reads those events alone that are edges."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from controlcenter.platform.log.positions import BEGINNING, LogPosition, current_position

CHUNK = 50_000
SINCE = """
    workspace_id = %(workspace)s
    AND xid >= pg_snapshot_xmin(%(since)s::pg_snapshot)
    AND NOT pg_visible_in_snapshot(xid, %(since)s::pg_snapshot)
"""
UNTIL = "AND pg_visible_in_snapshot(xid, %(until)s::pg_snapshot)"
COLUMNS = "event_id::text, source, type, timestamp, payload::text, meta::text, received_at"

# Events with an edge and those without have an index each: two scans are merged.
IN_COMMIT_ORDER = f"""
SELECT event_id, source, type, timestamp, payload, meta, received_at FROM (
    SELECT {COLUMNS}, xid, id FROM events_event WHERE {SINCE} {UNTIL} AND actor IS NOT NULL
    UNION ALL
    SELECT {COLUMNS}, xid, id FROM events_event WHERE {SINCE} {UNTIL} AND actor IS NULL
) AS e ORDER BY xid, id
"""  # noqa: S608 (put together from constants)


class Envelope(NamedTuple):
    """One event as it was sent."""

    event_id: str
    source: str
    type: str
    timestamp: datetime
    payload: dict[str, Any]
    meta: dict[str, Any]
    received_at: datetime


@dataclass(frozen=True)
class Activity:
    """How busy the log is."""

    total: int
    last_received_at: datetime | None


def envelopes_between(
    workspace_id: uuid.UUID,
    *,
    since: LogPosition = BEGINNING,
    until: LogPosition | None = None,
    chunk: int = CHUNK,
) -> Iterator[list[Envelope]]:
    """All events that were committed between two positions, in commit order, in chunks.

    Transactions that overlapped come in the order in which they first wrote.

    Args:
        until: None: the end of the log.
    """
    for rows in chunks(IN_COMMIT_ORDER, workspace_id, since=since, until=until, chunk=chunk):
        yield [envelope_of(*row) for row in rows]


def envelope_of(
    event_id: str,
    source: str,
    kind: str,
    timestamp: datetime,
    payload: str,
    meta: str,
    received_at: datetime,
) -> Envelope:
    """A row of the log; jsonb comes as text."""
    body, meta_fields = json.loads(payload), json.loads(meta)
    return Envelope(event_id, source, kind, timestamp, body, meta_fields, received_at)


def chunks(
    sql: str,
    workspace_id: uuid.UUID,
    *,
    since: LogPosition,
    until: LogPosition | None,
    chunk: int,
) -> Iterator[list[tuple[Any, ...]]]:
    """Rows of a query that names a workspace and what is between two positions."""
    until = until or current_position()
    names: dict[str, Any] = {
        "workspace": workspace_id,
        "since": since.snapshot,
        "until": until.snapshot,
    }
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, names)
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
