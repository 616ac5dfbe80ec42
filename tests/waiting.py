"""Waits of tests for what others do."""

import time

from django.db import connection

PATIENCE = 120
"""Seconds; only a hang takes so long."""

WAITS_FOR_ME = """
SELECT EXISTS (
    SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))
)
"""


def wait_until(met):
    deadline = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)


def somebody_waits_for_me():
    """Whether another connection waits for what the transaction here has locked."""
    with connection.cursor() as cursor:
        cursor.execute(WAITS_FOR_ME)
        return cursor.fetchone()[0]
