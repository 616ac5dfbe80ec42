"""Counts and last events of profiles, raised by ingestion in its own transaction."""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from django.db import connection

from controlcenter.platform.common import locks


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
    """As ingestion does, which takes its lock with its first statement."""
    locks.acquire_shared(locks.MERGE, workspace_id)


def exclude_ingestion(workspace_id: uuid.UUID) -> None:
    """The refresh's side of the same lock."""
    locks.acquire(locks.MERGE, workspace_id)


# Lists come as JSON: an array of PostgreSQL's takes the client longer to write than the server
# to insert. Rows are locked in the order of their ids, so that ingestions never wait in a circle.
MEET = """
WITH added AS (
    INSERT INTO profiles_callpeer AS c (workspace_id, user_id, peer_id, in_log)
    SELECT %(workspace)s, actor, peer, true FROM ROWS FROM (
        json_array_elements_text(%(callers)s), json_array_elements_text(%(called)s)
    ) AS new(actor, peer) ORDER BY 2, 3
    ON CONFLICT (workspace_id, user_id, peer_id) DO UPDATE SET in_log = true WHERE NOT c.in_log
    RETURNING user_id, (xmax = 0) AS made
)
SELECT coalesce(json_object_agg(user_id, peers), '{}')::text
FROM (SELECT user_id, count(*) AS peers FROM added WHERE made GROUP BY user_id) AS met
"""

# A join by loops or by merging takes the new ones in their order, and so locks profiles in it.
IN_ORDER = "set_config('enable_hashjoin', 'off', true)"

# Who is made by two at once is a unique violation for the later one. ON CONFLICT would wait
# instead, but lock every row before it is updated, which costs a seventh more.
RAISE = """
WITH raised AS (
    MERGE INTO profiles_profile AS p USING (
        SELECT id, counts, at::timestamptz AS at, coalesce((%(met)s::jsonb ->> id)::int, 0) AS peers
        FROM ROWS FROM (
            json_array_elements_text(%(users)s), jsonb_array_elements(%(counts)s),
            json_array_elements_text(%(times)s)
        ) AS new(id, counts, at) ORDER BY id
    ) AS n ON p.workspace_id = %(workspace)s AND p.user_id = n.id
    WHEN MATCHED THEN UPDATE SET
        live_counts = CASE
            WHEN p.live_counts = '{}' THEN n.counts
            WHEN n.counts = '{}' THEN p.live_counts
            ELSE p.live_counts || (
                SELECT jsonb_object_agg(key, (n.counts -> key)::bigint
                    + coalesce((p.live_counts -> key)::bigint, 0))
                FROM (SELECT jsonb_object_keys(n.counts) AS key) AS kinds) END,
        call_peers = p.call_peers + n.peers,
        last_event_at = greatest(p.last_event_at, n.at),
        live_last_event_at = greatest(p.live_last_event_at, n.at),
        changed_at = coalesce(p.changed_at, statement_timestamp()),
        -- The last writer's, not the greatest: writers of a row wait for each other's commit.
        changed_xid = pg_current_xact_id(),
        revision = p.revision + (n.counts <> '{}')::int
    WHEN NOT MATCHED THEN
        INSERT (workspace_id, user_id, attributes, live_counts, call_peers, last_event_at,
            live_last_event_at, changed_at, changed_xid, revision)
        VALUES (%(workspace)s, n.id, '{}', n.counts, n.peers, n.at, n.at, statement_timestamp(),
            pg_current_xact_id(), 1 + (n.counts <> '{}')::int)
    RETURNING merge_action() AS action
)
SELECT count(*) FILTER (WHERE action = 'INSERT') FROM raised
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
        """Count events in."""
        counts, last = self.counts, self.last
        for event in events:
            self.events += 1
            kind, actor, at, target = event.type, event.actor, event.timestamp, event.target
            of_user = counts.get(actor)
            if of_user is None:
                counts[actor] = {kind: 1}
                last[actor] = at
            else:
                of_user[kind] = of_user.get(kind, 0) + 1
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

    Raises:
        IntegrityError: if somebody else makes one of them now: begin the transaction again.
    """
    if not new.events:
        return 0
    names = {"workspace": workspace_id, **vars(new)}
    with connection.cursor() as cursor:
        cursor.execute(MEET, names)
        (met,) = cursor.fetchone()
        cursor.execute(RAISE, names | {"met": met})
        (created,) = cursor.fetchone()
        cursor.execute(CREATE_ITEMS, names)
    return int(created)


def listed(values: Sequence[object]) -> str:
    """Values as one parameter: a JSON list that PostgreSQL unfolds."""
    return json.dumps(values)
