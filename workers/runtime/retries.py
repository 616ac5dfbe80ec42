"""Doing it again while a part of the system is away, and for how long."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from django.db import InterfaceError, OperationalError
from django.db import connections as django_connections

log = structlog.get_logger(__name__)
STORE_PATIENCE = 90.0
DATABASE_PATIENCE = 90.0
CONNECTION_ERRORS = (OperationalError, InterfaceError)
Answer = TypeVar("Answer")


def retry_while_disconnected(
    call: Callable[[], Answer], *, on_wait: Callable[[], None] | None = None
) -> Answer:
    """Call, and again while the database is away, up to ``DATABASE_PATIENCE`` seconds."""
    deadline = time.monotonic() + DATABASE_PATIENCE
    wait = 0.2
    while True:
        try:
            return call()
        except CONNECTION_ERRORS as error:
            django_connections.close_all()
            if time.monotonic() + wait > deadline:
                raise
            log.warning("database.retry", error=str(error).strip(), wait=wait)
            time.sleep(wait)
            wait = min(wait * 2, 5.0)
            if on_wait is not None:
                on_wait()
