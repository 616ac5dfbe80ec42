"""Advisory locks: their keys stay the same numbers, and they keep apart what they should."""

import re
import threading
import uuid
from pathlib import Path

import pytest
from django.db import connection, transaction

from controlcenter.platform.common import locks

ROOT = Path(__file__).resolve().parents[4]
WORKSPACE = uuid.UUID("6c1a1bb1-6bd8-4f7e-8f4a-0a3f6f0b0c01")
KEYS = {
    locks.REAPER: ("", "hashtextextended('ups reaper', 0)"),
    locks.TASK_QUEUE: (WORKSPACE, f"hashtextextended('queue {WORKSPACE}', 0)"),
    locks.POOL: ("refresh-gpu", "hashtextextended('pool refresh-gpu', 0)"),
    locks.MERGE: (WORKSPACE, f"hashtextextended('merge ' || '{WORKSPACE}'::uuid, 0)"),
}
"""What processes of every release compute."""


def test_every_lock_has_a_key_of_its_own():
    assert set(KEYS) == set(locks.LOCKS)
    assert len({lock.name for lock in locks.LOCKS}) == len(locks.LOCKS)


@pytest.mark.django_db
@pytest.mark.parametrize("lock", locks.LOCKS, ids=lambda lock: lock.name)
def test_keys_are_those_of_every_release(lock):
    subject, key = KEYS[lock]
    locks.acquire(lock, subject)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks "
            "WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
        held = cursor.fetchall()
        cursor.execute(f"SELECT {key}")
        assert held == [cursor.fetchone()]


def in_another_session(work):
    """What ``work`` returns on a connection of its own."""
    answers = []

    def run():
        try:
            answers.append(work())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    return answers[0]


def is_free(lock, subject, *, shared=False):
    function = "pg_try_advisory_xact_lock" + ("_shared" if shared else "")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(hashtextextended(%s, 0))", [lock.text(subject)])
        return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
def test_a_shared_lock_is_shared_and_keeps_the_exclusive_one_out():
    with transaction.atomic():
        locks.acquire_shared(locks.MERGE, WORKSPACE)
        assert in_another_session(lambda: is_free(locks.MERGE, WORKSPACE, shared=True))
        assert not in_another_session(lambda: is_free(locks.MERGE, WORKSPACE))
        assert in_another_session(lambda: is_free(locks.MERGE, uuid.uuid4()))
    assert in_another_session(lambda: is_free(locks.MERGE, WORKSPACE))


@pytest.mark.django_db(transaction=True)
def test_a_session_lock_outlives_transactions_and_ends_with_its_block():
    def is_refused():
        with locks.try_for_session(locks.REAPER) as is_held:
            return not is_held

    def fail_half_way():
        with locks.try_for_session(locks.REAPER) as is_mine:
            assert is_mine
            with transaction.atomic():
                assert in_another_session(is_refused)
            assert in_another_session(is_refused)
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert not in_another_session(is_refused)


@pytest.mark.parametrize(("lock", "subject"), [(locks.REAPER, "alpha"), (locks.POOL, "")])
def test_a_lock_is_taken_for_what_it_is_of(lock, subject):
    with pytest.raises(ValueError, match=lock.name):
        lock.text(subject)


def test_no_other_file_takes_advisory_locks():
    files = [f for top in ("controlcenter", "workers") for f in (ROOT / top).rglob("*.py")]
    with_sql = [f for f in files if re.search(r"pg_\w*advisory", f.read_text())]
    assert [f.name for f in with_sql] == ["locks.py"]
