"""Counts and last events of profiles, raised by ingestion in its own transaction."""

import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from django.db import connection

LOCK = "SELECT {function}(hashtextextended(%s, 0))"


class Counted(Protocol):
    """One new event, as far as profiles care."""

    @property
    def type(self) -> str: ...
    @property
    def timestamp(self) -> datetime: ...
    @property
    def actor(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def target_type(self) -> str: ...


def share_with_refresh(workspace_id: uuid.UUID) -> None:
    """Many ingestions at a time, but none while a refresh merges (until the transaction ends)."""
    with connection.cursor() as cursor:
        cursor.execute(
            LOCK.format(function="pg_advisory_xact_lock_shared"), [f"merge {workspace_id}"]
        )


def exclude_ingestion(workspace_id: uuid.UUID) -> None:
    """The refresh's side of the same lock."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK.format(function="pg_advisory_xact_lock"), [f"merge {workspace_id}"])


# Lists come as JSON: an array of PostgreSQL's takes the client longer to write than the server
# to insert. Rows are locked in the order of their ids, so that ingestions never wait in a circle.
COUNT = """
WITH raised AS (
    INSERT INTO profiles_profile AS p (workspace_id, user_id, attributes, live_counts, call_peers,
        last_event_at, live_last_event_at, changed_at, changed_xid, revision)
    SELECT %(workspace)s, id, '{}', counts, peers::int, at::timestamptz, at::timestamptz,
        statement_timestamp(), pg_current_xact_id(), 1 + (counts <> '{}')::int
    FROM ROWS FROM (
        json_array_elements_text(%(users)s), jsonb_array_elements(%(counts)s),
        json_array_elements_text(%(peers)s), json_array_elements_text(%(times)s)
    ) AS new(id, counts, peers, at) ORDER BY id
    ON CONFLICT (workspace_id, user_id) DO UPDATE SET
        live_counts = p.live_counts || (
            SELECT coalesce(jsonb_object_agg(
                key, value::bigint + coalesce((p.live_counts ->> key)::bigint, 0)), '{}')
            FROM jsonb_each_text(EXCLUDED.live_counts)),
        call_peers = p.call_peers + EXCLUDED.call_peers,
        last_event_at = greatest(p.last_event_at, EXCLUDED.last_event_at),
        live_last_event_at = greatest(p.live_last_event_at, EXCLUDED.live_last_event_at),
        changed_at = coalesce(p.changed_at, EXCLUDED.changed_at),
        -- The last writer's, not the greatest: writers of a row wait for each other's commit.
        changed_xid = EXCLUDED.changed_xid,
        revision = p.revision + (EXCLUDED.live_counts <> '{}')::int
    RETURNING (xmax = 0) AS made
)
SELECT count(*) FILTER (WHERE made) FROM raised
"""

PEERS = """
WITH added AS (
    INSERT INTO profiles_callpeer AS c (workspace_id, user_id, peer_id, in_log)
    SELECT %(workspace)s, actor, peer, true FROM ROWS FROM (
        json_array_elements_text(%(actors)s), json_array_elements_text(%(peers)s)
    ) AS new(actor, peer) ORDER BY 2, 3
    ON CONFLICT (workspace_id, user_id, peer_id) DO UPDATE SET in_log = true WHERE NOT c.in_log
    RETURNING user_id, (xmax = 0) AS made
)
SELECT user_id, count(*) FROM added WHERE made GROUP BY user_id
"""

CREATE_ITEMS = """
INSERT INTO profiles_item (workspace_id, type, item_id)
SELECT %(workspace)s, type, id FROM ROWS FROM (
    json_array_elements_text(%(types)s), json_array_elements_text(%(ids)s)
) AS new(type, id) ORDER BY 2, 3
ON CONFLICT (workspace_id, type, item_id) DO NOTHING
"""


@dataclass
class Delta:
    """What the new events of one user add; without counts, the user was only called."""

    counts: dict[str, int] = field(default_factory=dict)
    last: datetime | None = None


def deltas(events: Iterable[Counted]) -> dict[str, Delta]:
    """By user, those who are only called included."""
    users: dict[str, Delta] = defaultdict(Delta)
    for event in events:
        delta, kind, at = users[event.actor], event.type, event.timestamp
        delta.counts[kind] = delta.counts.get(kind, 0) + 1
        if delta.last is None or at > delta.last:
            delta.last = at
        if event.target_type == "user":
            users.setdefault(event.target, Delta())
    return users


def count_events(workspace_id: uuid.UUID, events: Sequence[Counted]) -> int:
    """Raise counts and last events; unknown users, products and apps are made with defaults.

    Whoever calls locks call peers first, then profiles, then items, each in the order of ids.

    Returns:
        How many users were made.
    """
    if not events:
        return 0
    calls = {(e.actor, e.target) for e in events if e.type == "call" and e.target_type == "user"}
    items = {(e.target_type, e.target) for e in events if e.target_type != "user"}
    with connection.cursor() as cursor:
        new_peers: dict[str, int] = {}
        if calls:
            actors, peers = map(listed, zip(*calls, strict=True))
            cursor.execute(PEERS, {"workspace": workspace_id, "actors": actors, "peers": peers})
            new_peers = dict(cursor.fetchall())
        users = deltas(events)
        cursor.execute(
            COUNT,
            {
                "workspace": workspace_id,
                "users": listed(users),
                "counts": listed(delta.counts for delta in users.values()),
                "peers": listed(new_peers.get(user, 0) for user in users),
                "times": listed(d.last.isoformat() if d.last else None for d in users.values()),
            },
        )
        (made,) = cursor.fetchone()
        if items:
            types, ids = map(listed, zip(*items, strict=True))
            cursor.execute(CREATE_ITEMS, {"workspace": workspace_id, "types": types, "ids": ids})
    return int(made)


def listed(values: Iterable[object]) -> str:
    return json.dumps(list(values))
