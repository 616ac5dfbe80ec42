"""Writing entries to the log: those whose ids are new, each once."""

import uuid
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Protocol

from django.db import connection
from psycopg import Copy
from psycopg.copy import LibpqWriter

from controlcenter.platform.log.envelope import LogEntry

UNSENT = 16 * 2**20
"""So many bytes may wait for the server while the next events are checked."""

COPY = """
COPY events_event (workspace_id, event_id, source, type, timestamp, payload, meta, actor, target,
    target_type) FROM STDIN
"""
INSERT = """
INSERT INTO events_event (workspace_id, event_id, source, type, timestamp, payload, meta, actor,
    target, target_type)
SELECT %(workspace)s, e.* FROM unnest(%(event_id)s::uuid[], %(source)s::text[],
    %(type)s::text[], %(timestamp)s::timestamptz[], %(payload)s::jsonb[], %(meta)s::jsonb[],
    %(actor)s::text[], %(target)s::text[], %(target_type)s::text[]) AS e
ON CONFLICT (workspace_id, event_id) DO NOTHING
RETURNING event_id::text
"""
ACTOR = itemgetter(LogEntry._fields.index("actor"))
WITHOUT_EDGE = "\\N\t\\N\t\\N\n"


class Observer(Protocol):
    """Who notes what is new while it is written."""

    def add(self, entries: Sequence[LogEntry]) -> None:
        """Note new entries."""

    def prepare(self) -> None:
        """All are noted."""


def copied(workspace_id: uuid.UUID, parts: Iterable[list[LogEntry]], observer: Observer) -> int:
    """Write the entries. It pays for many, of which none is known.

    Args:
        parts: Entries in the order of their ids, each id once, so that writers never wait in a
            circle. While the server writes one part, the next is asked for.
        observer: Called while the server has something to do.

    Returns:
        How many were written.

    Raises:
        IntegrityError: where one is known; the transaction is of no use any more.
    """
    count = 0
    with (
        connection.cursor() as cursor,
        connection.wrap_database_errors,
        cursor.copy(COPY, writer=LibpqWriter(cursor.cursor, flush_threshold=UNSENT)) as copy,
    ):
        for part in parts:
            send(copy, str(workspace_id), part)
            observer.add(part)
            count += len(part)
        observer.prepare()
        return count


def send(copy: Copy, workspace_id: str, part: list[LogEntry]) -> None:
    """Hand entries to the server, as COPY's text where that needs no escapes but of backslashes."""
    if None not in map(ACTOR, part):
        lines = "".join(
            [
                f"{workspace_id}\t{e[0]}\t{e[1]}\t{e[2]}\t{e[3].isoformat()}\t"
                f"{e[4]}\t{e[5]}\t{e[6]}\t{e[7]}\t{e[8]}\n"
                for e in part
            ]
        )
        if is_plain(lines, len(part)):
            copy.write(lines.replace("\\", "\\\\"))
            return
    lines = "".join([line_of(workspace_id, entry) for entry in part])
    if is_plain(lines, len(part)):
        copy.write(lines)
        return
    for entry in part:
        copy.write_row((workspace_id, *entry))


def line_of(workspace_id: str, e: LogEntry) -> str:
    """A line of COPY's text, with its backslashes escaped and nothing else."""
    head = f"{workspace_id}\t{e[0]}\t{e[1]}\t{e[2]}\t{e[3].isoformat()}\t{e[4]}\t{e[5]}\t"
    if e.actor is None:
        return head.replace("\\", "\\\\") + WITHOUT_EDGE
    return f"{head}{e[6]}\t{e[7]}\t{e[8]}\n".replace("\\", "\\\\")


def is_plain(lines: str, count: int) -> bool:
    """Whether tabs and line ends are those between the columns and rows alone."""
    tabs = count * len(LogEntry._fields)
    return lines.count("\t") == tabs and lines.count("\n") == count and "\r" not in lines


def inserted(workspace_id: uuid.UUID, parts: Iterable[list[LogEntry]], observer: Observer) -> int:
    """Write the entries whose ids are new.

    Args:
        parts: As ``copied`` takes them.

    Returns:
        How many were new.
    """
    entries = list(chain.from_iterable(parts))
    columns = dict(zip(LogEntry._fields, map(list, zip(*entries, strict=True)), strict=True))
    with connection.cursor() as cursor:
        cursor.execute(INSERT, {"workspace": workspace_id, **columns})
        new = {event_id for (event_id,) in cursor.fetchall()}
    observer.add([entry for entry in entries if entry.event_id in new])
    observer.prepare()
    return len(new)
