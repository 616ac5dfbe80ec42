"""Counts and last events of profiles, raised by ingestion in its own transaction."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

LOCK = "SELECT {function}(hashtextextended(%s, 0))"


@dataclass(frozen=True)
class Counted:
    """One new event, as far as profiles care."""

    type: str
    timestamp: datetime
    actor: str
    target: str
    target_type: str


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


# An upsert although each row is there: unlike UPDATE … FROM it locks in the order of the ids.
COUNT = """
WITH new AS (
    SELECT * FROM unnest(%(actors)s::text[], %(types)s::text[], %(times)s::timestamptz[])
        AS n(actor, type, at)
), typed AS (
    SELECT actor, type, count(*) AS n, max(at) AS last FROM new GROUP BY actor, type
), delta AS (
    SELECT actor, jsonb_object_agg(type, n) AS counts, max(last) AS last FROM typed GROUP BY actor
    UNION ALL
    SELECT id, '{}', NULL FROM unnest(%(called)s::text[]) AS t(id)
)
INSERT INTO profiles_profile AS p (workspace_id, user_id, attributes, live_counts, last_event_at,
    live_last_event_at, changed_at, changed_xid)
SELECT %(workspace)s, actor, '{}', counts, last, last, statement_timestamp(), pg_current_xact_id()
FROM delta ORDER BY actor
ON CONFLICT (workspace_id, user_id) DO UPDATE SET
    live_counts = ups_add_counts(p.live_counts, EXCLUDED.live_counts),
    last_event_at = greatest(p.last_event_at, EXCLUDED.last_event_at),
    live_last_event_at = greatest(p.live_last_event_at, EXCLUDED.live_last_event_at),
    changed_at = coalesce(p.changed_at, EXCLUDED.changed_at),
    -- The last writer's, not the greatest: writers of a row wait for each other's commit.
    changed_xid = EXCLUDED.changed_xid,
    revision = p.revision + (EXCLUDED.live_counts <> '{}')::int
"""

CREATE_USERS = """
INSERT INTO profiles_profile (workspace_id, user_id, attributes)
SELECT %(workspace)s, id, '{}' FROM unnest(%(ids)s::text[]) AS t(id) ORDER BY id
ON CONFLICT (workspace_id, user_id) DO NOTHING RETURNING 1
"""

CREATE_ITEMS = """
INSERT INTO profiles_item (workspace_id, type, item_id)
SELECT DISTINCT %(workspace)s::uuid, type, id
FROM unnest(%(types)s::text[], %(ids)s::text[]) AS t(type, id) ORDER BY 2, 3
ON CONFLICT (workspace_id, type, item_id) DO NOTHING
"""

PEERS = """
WITH added AS (
    INSERT INTO profiles_callpeer AS c (workspace_id, user_id, peer_id, in_log)
    SELECT DISTINCT %(workspace)s::uuid, actor, peer, true
    FROM unnest(%(actors)s::text[], %(peers)s::text[]) AS t(actor, peer) ORDER BY 2, 3
    ON CONFLICT (workspace_id, user_id, peer_id) DO UPDATE SET in_log = true
    RETURNING user_id, (xmax = 0) AS created
), delta AS (
    SELECT user_id, count(*) AS n FROM added WHERE created GROUP BY user_id
)
UPDATE profiles_profile p SET call_peers = p.call_peers + delta.n
FROM delta WHERE p.workspace_id = %(workspace)s AND p.user_id = delta.user_id
"""


def count_events(workspace_id: uuid.UUID, events: Sequence[Counted]) -> int:
    """Raise counts and last events; unknown users, products and apps are made with defaults.

    Users are made first, all of them in the order of their ids, then raised in the same order, so
    that ingestions never wait in a circle.

    Returns:
        How many users were made.
    """
    if not events:
        return 0
    called = [e for e in events if e.target_type == "user"]
    items = [e for e in events if e.target_type != "user"]
    with connection.cursor() as cursor:
        actors, targets = {e.actor for e in events}, {e.target for e in called}
        ids = sorted(actors | targets)
        cursor.execute(CREATE_USERS, {"workspace": workspace_id, "ids": ids})
        made = len(cursor.fetchall())
        cursor.execute(
            COUNT,
            {
                "workspace": workspace_id,
                "actors": [e.actor for e in events],
                "types": [e.type for e in events],
                "times": [e.timestamp for e in events],
                "called": sorted(targets - actors),
            },
        )
        calls = [e for e in called if e.type == "call"]
        if calls:
            cursor.execute(
                PEERS,
                {
                    "workspace": workspace_id,
                    "actors": [e.actor for e in calls],
                    "peers": [e.target for e in calls],
                },
            )
        if items:
            cursor.execute(
                CREATE_ITEMS,
                {
                    "workspace": workspace_id,
                    "types": [e.target_type for e in items],
                    "ids": [e.target for e in items],
                },
            )
    return made
