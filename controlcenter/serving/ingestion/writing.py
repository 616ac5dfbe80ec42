"""Writing events to the log: those whose ids are new, each once, counted on the way."""

import uuid
from collections.abc import Iterable
from itertools import chain

from django.db import connection
from psycopg import Copy
from psycopg.copy import LibpqWriter

from controlcenter.serving.ingestion.envelope import Envelope
from controlcenter.serving.profiles.counting import Additions, Tally

UNSENT = 16 * 2**20
"""So many bytes may wait for the server while the next events are checked."""

COPY = """
COPY events_event (workspace_id, event_id, source, type, timestamp, actor, target, target_type,
    payload, meta) FROM STDIN
"""
INSERT = """
INSERT INTO events_event (workspace_id, event_id, source, type, timestamp, actor, target,
    target_type, payload, meta)
SELECT %(workspace)s, e.* FROM unnest(%(event_id)s::uuid[], %(source)s::text[],
    %(type)s::text[], %(timestamp)s::timestamptz[], %(actor)s::text[], %(target)s::text[],
    %(target_type)s::text[], %(payload)s::jsonb[], %(meta)s::jsonb[]) AS e
ON CONFLICT (workspace_id, event_id) DO NOTHING
RETURNING event_id::text
"""


def copied(workspace_id: uuid.UUID, parts: Iterable[list[Envelope]]) -> Additions:
    """Write the events, and count them. It pays for many, of which none is known.

    Args:
        parts: Events in the order of their ids, each id once, so that ingestions never wait in
            a circle. While the server writes one part, the next is asked for.

    Raises:
        IntegrityError: where one is known; the transaction is of no use any more.
    """
    tally = Tally()
    with (
        connection.cursor() as cursor,
        connection.wrap_database_errors,
        cursor.copy(COPY, writer=LibpqWriter(cursor.cursor, flush_threshold=UNSENT)) as copy,
    ):
        for part in parts:
            send(copy, str(workspace_id), part)
            tally.add(part)
        return tally.ready()


def send(copy: Copy, workspace_id: str, part: list[Envelope]) -> None:
    """Hand events to the server, as COPY's text where that needs no escapes but of backslashes."""
    lines = "".join(
        [
            f"{workspace_id}\t{e[0]}\t{e[1]}\t{e[2]}\t{e[3].isoformat()}\t"
            f"{e[4]}\t{e[5]}\t{e[6]}\t{e[7]}\t{e[8]}\n"
            for e in part
        ]
    )
    tabs = len(part) * len(Envelope._fields)
    if lines.count("\t") == tabs and lines.count("\n") == len(part) and "\r" not in lines:
        copy.write(lines.replace("\\", "\\\\"))
        return
    for event in part:
        copy.write_row((workspace_id, *event))


def inserted(workspace_id: uuid.UUID, parts: Iterable[list[Envelope]]) -> Additions:
    """Write the events whose ids are new, and count them.

    Args:
        parts: As ``copied`` takes them.
    """
    events = list(chain.from_iterable(parts))
    columns = dict(zip(Envelope._fields, map(list, zip(*events, strict=True)), strict=True))
    with connection.cursor() as cursor:
        cursor.execute(INSERT, {"workspace": workspace_id, **columns})
        new = {event_id for (event_id,) in cursor.fetchall()}
    tally = Tally()
    tally.add(event for event in events if event.event_id in new)
    return tally.ready()
