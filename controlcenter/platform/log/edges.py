"""Reads of those events that are edges of the graph; events outside it are not there for them."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from controlcenter.platform.log.positions import BEGINNING, LogPosition
from controlcenter.platform.log.queries import CHUNK, SINCE, UNTIL, chunks

COLUMNS = ("event_id", "type", "timestamp", "actor", "target", "target_type")
HISTORY_COLUMNS = ("type", "actor", "target", "target_type", "timestamp")

HistoryRow = tuple[str, str, str, str, datetime]

IN_COMMIT_ORDER = f"""
SELECT event_id::text, type, timestamp, actor, target, target_type
FROM events_event WHERE {SINCE} {UNTIL} AND actor IS NOT NULL ORDER BY xid, id
"""  # noqa: S608 (put together from constants)
FIRST = f"""
SELECT received_at FROM events_event WHERE {SINCE} AND actor IS NOT NULL ORDER BY xid, id LIMIT 1
"""  # noqa: S608
LAG = f"""
SELECT count(*), extract(epoch FROM statement_timestamp() - min(received_at))::float8
FROM events_event WHERE {SINCE} AND actor IS NOT NULL
"""  # noqa: S608
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


@dataclass(frozen=True)
class Lag:
    """How far a consumer is behind: events, and seconds since the first of them came."""

    events: int
    seconds: float


def edges_between(
    workspace_id: uuid.UUID,
    *,
    since: LogPosition = BEGINNING,
    until: LogPosition | None = None,
    chunk: int = CHUNK,
) -> Iterator[list[tuple[Any, ...]]]:
    """A workspace's edges that were committed between two positions, in chunks of rows of
    ``COLUMNS``, in commit order. Positions that follow each other skip nothing and repeat nothing.

    Args:
        until: None: the end of the log.
    """
    return chunks(IN_COMMIT_ORDER, workspace_id, since=since, until=until, chunk=chunk)


def first_edge_after(workspace_id: uuid.UUID, snapshot: str) -> datetime | None:
    """When the first edge came that the snapshot does not show; None: it shows all."""
    with connection.cursor() as cursor:
        cursor.execute(FIRST, {"workspace": workspace_id, "since": snapshot})
        row = cursor.fetchone()
    return row[0] if row else None


def edge_lag(workspace_id: uuid.UUID, snapshot: str) -> Lag:
    """How far a consumer of edges that is at ``snapshot`` is behind the log."""
    with connection.cursor() as cursor:
        cursor.execute(LAG, {"workspace": workspace_id, "since": snapshot})
        events, seconds = cursor.fetchone()
    return Lag(events, max(seconds or 0.0, 0.0))


def edges_of_user(
    workspace_id: uuid.UUID, user_id: str, *, since: str, before: datetime | None
) -> list[HistoryRow]:
    """Rows of ``HISTORY_COLUMNS`` of the events that a user did and of those that others did to
    it, in the order in which they came.

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
        rows: list[HistoryRow] = cursor.fetchall()
    return rows
