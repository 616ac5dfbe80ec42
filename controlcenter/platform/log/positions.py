"""Positions in the event log. A position is a snapshot of the database, not a number.

Ids and transaction ids skip what commits late, and the horizon below which nothing can come any
more stands still while anybody's transaction is long. What is visible in one snapshot and was not
in the one before is exactly what was committed between them.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

EMPTY_SNAPSHOT = "3:3:"
"""A snapshot in which no transaction of anybody is visible."""


@dataclass(frozen=True)
class LogPosition:
    """A position in the event log.

    Args:
        snapshot: As text of PostgreSQL's ``pg_snapshot``.
        at: When it was taken, on the database's clock; None for the beginning.
    """

    snapshot: str
    at: datetime | None


BEGINNING = LogPosition(EMPTY_SNAPSHOT, None)


def current_position() -> LogPosition:
    """The end of the log: all that is committed by now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_snapshot()::text, statement_timestamp()")
        snapshot, at = cursor.fetchone()
    return LogPosition(snapshot, at)
