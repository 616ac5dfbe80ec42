"""Time comes from the database, so that a worker with a wrong clock does no harm."""

from datetime import datetime

from django.db import connection


def now() -> datetime:
    """The database's wall clock, with zone (``clock_timestamp()``, not the transaction's start)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment
