"""Counts and last events of profiles, raised by ingestion in its own transaction."""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
# to insert. Rows are locked in the order of their ids, so that ingestions never wait in a circle;
# call peers before profiles, as the sort needs all of the new ones.
COUNT = """
WITH added AS (
    INSERT INTO profiles_callpeer AS c (workspace_id, user_id, peer_id, in_log)
    SELECT %(workspace)s, actor, peer, true FROM ROWS FROM (
        json_array_elements_text(%(callers)s), json_array_elements_text(%(called)s)
    ) AS new(actor, peer) ORDER BY 2, 3
    ON CONFLICT (workspace_id, user_id, peer_id) DO UPDATE SET in_log = true WHERE NOT c.in_log
    RETURNING user_id, (xmax = 0) AS made
),
met AS (SELECT user_id, count(*)::int AS peers FROM added WHERE made GROUP BY user_id),
raised AS (
    INSERT INTO profiles_profile AS p (workspace_id, user_id, attributes, live_counts, call_peers,
        last_event_at, live_last_event_at, changed_at, changed_xid, revision)
    SELECT %(workspace)s, id, '{}', counts, coalesce(peers, 0), at::timestamptz, at::timestamptz,
        statement_timestamp(), pg_current_xact_id(), 1 + (counts <> '{}')::int
    FROM ROWS FROM (
        json_array_elements_text(%(users)s), jsonb_array_elements(%(counts)s),
        json_array_elements_text(%(times)s)
    ) AS new(id, counts, at) LEFT JOIN met ON user_id = id ORDER BY id
    ON CONFLICT (workspace_id, user_id) DO UPDATE SET
        live_counts = CASE
            WHEN p.live_counts = '{}' THEN EXCLUDED.live_counts
            WHEN EXCLUDED.live_counts = '{}' THEN p.live_counts
            ELSE p.live_counts || (
                SELECT jsonb_object_agg(key, (EXCLUDED.live_counts -> key)::bigint
                    + coalesce((p.live_counts -> key)::bigint, 0))
                FROM (SELECT jsonb_object_keys(EXCLUDED.live_counts) AS key) AS kinds) END,
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

CREATE_ITEMS = """
INSERT INTO profiles_item (workspace_id, type, item_id)
SELECT %(workspace)s, type, id FROM ROWS FROM (
    json_array_elements_text(%(types)s), json_array_elements_text(%(items)s)
) AS new(type, id)
-- Nearly all are known, which is cheaper to see first than to run into.
WHERE NOT EXISTS (
    SELECT FROM profiles_item AS i
    WHERE i.workspace_id = %(workspace)s AND i.type = new.type AND i.item_id = new.id
)
ORDER BY 2, 3
ON CONFLICT (workspace_id, type, item_id) DO NOTHING
"""


class Tally:
    """What new events add, by user; users that were only called add no counts."""

    def __init__(self) -> None:
        self.events = 0
        self.counts: dict[str, dict[str, int]] = {}
        self.last: dict[str, datetime] = {}
        self.calls: set[tuple[str, str]] = set()
        self.items: set[tuple[str, str]] = set()
        self._others: set[str] = set()

    def add(self, events: Iterable[Counted]) -> None:
        counts, last = self.counts, self.last
        for event in events:
            self.events += 1
            kind, actor, at, target = event.type, event.actor, event.timestamp, event.target
            mine = counts.get(actor)
            if mine is None:
                counts[actor] = {kind: 1}
                last[actor] = at
            else:
                mine[kind] = mine.get(kind, 0) + 1
                if at > last[actor]:
                    last[actor] = at
            if event.target_type != "user":
                self.items.add((event.target_type, target))
            elif kind == "call":
                self.calls.add((actor, target))
            else:
                self._others.add(target)

    def ready(self) -> "Additions":
        """As it is written, which takes a while: best while the server has something to do."""
        touched = self._others.union(target for _, target in self.calls)
        users = [*self.counts, *(touched - self.counts.keys())]
        times: list[str | None] = [at.isoformat() for at in self.last.values()]
        empty = len(users) - len(self.counts)
        callers, called = zip(*self.calls, strict=True) if self.calls else ((), ())
        types, items = zip(*self.items, strict=True) if self.items else ((), ())
        return Additions(
            events=self.events,
            users=listed(users),
            counts=listed([*self.counts.values(), *([{}] * empty)]),
            times=listed(times + [None] * empty),
            callers=listed(callers),
            called=listed(called),
            types=listed(types),
            items=listed(items),
        )


@dataclass(frozen=True, kw_only=True)
class Additions:
    """What new events add, in lists of JSON: by user, by pair of caller and called, by item."""

    events: int
    users: str
    counts: str
    times: str
    callers: str
    called: str
    types: str
    items: str


def count_events(workspace_id: uuid.UUID, new: Additions) -> int:
    """Raise counts and last events; unknown users, products and apps are made with defaults.

    Whoever calls locks call peers first, then profiles, then items, each in the order of ids.

    Returns:
        How many users were made.
    """
    if not new.events:
        return 0
    names = {"workspace": workspace_id, **vars(new)}
    with connection.cursor() as cursor:
        cursor.execute(COUNT, names)
        (made,) = cursor.fetchone()
        cursor.execute(CREATE_ITEMS, names)
    return int(made)


def listed(values: Sequence[object]) -> str:
    return json.dumps(values)
