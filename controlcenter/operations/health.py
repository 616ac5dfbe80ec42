"""Is the system well, and if not, why: a check a part, each with a sentence."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import DatabaseError, InterfaceError
from kombu.exceptions import OperationalError as BrokerError

from controlcenter.celery import app
from controlcenter.platform.artifacts.store import StoreUnavailable, store
from controlcenter.platform.common import clock
from controlcenter.platform.runs.models import Chore
from controlcenter.platform.runs.reaper import CHORE
from controlcenter.platform.webhooks import queries as webhooks_queries
from controlcenter.platform.webhooks.sender import CHORE as SENDER

REAPER_LATE = timedelta(seconds=60)
SENDER_LATE = timedelta(seconds=60)


@dataclass(frozen=True)
class Check:
    """One part and its state."""

    name: str
    ok: bool
    reason: str


def database() -> str:
    """PostgreSQL answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version')")
        return f"PostgreSQL {cursor.fetchone()[0]}"


def migrations() -> str:
    """Raises: RuntimeError if the database has not all migrations."""
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise RuntimeError(f"{len(missing)} migrations are missing: run manage.py migrate")
    return "complete"


def broker() -> str:
    """The broker answers within two seconds."""
    with app.connection_for_write(connect_timeout=2) as link:
        link.ensure_connection(max_retries=1, interval_start=1, timeout=2)
    return "answers"


def object_store() -> str:
    """The object store answers and has its bucket."""
    store().check()
    return "answers"


def reaper() -> str:
    """Raises: RuntimeError if the reaper did not run in the last minute."""
    chore = Chore.objects.filter(name=CHORE).first()
    if chore is None:
        raise RuntimeError("the reaper has never run: is the relay running?")
    age = clock.now() - chore.last_at
    if age > REAPER_LATE:
        raise RuntimeError(f"the reaper ran {age.total_seconds():.0f} s ago: is the relay running?")
    return f"ran {max(age.total_seconds(), 0):.0f} s ago"


def webhooks() -> str:
    """Raises: RuntimeError if webhooks are enabled and their sender did not run for a minute."""
    if not webhooks_queries.any_enabled():
        return "none is enabled"
    chore = Chore.objects.filter(name=SENDER).first()
    if chore is None:
        raise RuntimeError("their sender has never run: is the process webhooks running?")
    age = max((clock.now() - chore.last_at).total_seconds(), 0)
    if age > SENDER_LATE.total_seconds():
        raise RuntimeError(f"their sender ran {age:.0f} s ago: is the process webhooks running?")
    return f"sender ran {age:.0f} s ago"


CHECKS: dict[str, Callable[[], str]] = {
    "database": database,
    "migrations": migrations,
    "broker": broker,
    "object_store": object_store,
    "reaper": reaper,
    "webhooks": webhooks,
}
FAILURES = (DatabaseError, InterfaceError, BrokerError, StoreUnavailable, RuntimeError, OSError)


def check(name: str) -> Check:
    """One check; a failure becomes its reason, in one line."""
    try:
        return Check(name, True, CHECKS[name]())
    except FAILURES as error:
        return Check(name, False, str(error).strip().splitlines()[0] if str(error) else repr(error))


def check_all() -> list[Check]:
    """All checks, in order."""
    return [check(name) for name in CHECKS]
