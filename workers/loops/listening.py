"""Waiting for a word from the database, on a connection of its own."""

import time
import uuid
from types import TracebackType
from typing import Any, Self

import psycopg
import structlog
from django.db import connection

from controlcenter.serving.incremental.waking import CHANNEL, URGENT
from workers.runtime import shutdown

log = structlog.get_logger(__name__)
SLICE_SECONDS = 0.5


class Listening:
    """Hears what is told of one workspace's loop. Without a connection it just waits."""

    def __init__(self, workspace_id: uuid.UUID) -> None:
        self.workspace_id = str(workspace_id)
        self.link: Any = None

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.disconnect()

    def connect(self) -> None:
        """Listen from now on, if the database is there."""
        try:
            link = connection.get_new_connection(connection.get_connection_params())
            link.autocommit = True
            link.execute(f"LISTEN {CHANNEL}")
            self.link = link
        except psycopg.Error as error:
            log.warning("listening.no_connection", error=str(error).strip())

    def disconnect(self) -> None:
        if self.link is not None:
            self.link.close()
            self.link = None

    def wait(self, seconds: float, *, calm: float) -> None:
        """Until something urgent is told, or events and ``calm`` seconds have passed, or
        ``seconds`` have, or the worker is told to stop."""
        begin = time.monotonic()
        end = begin + seconds
        while not shutdown.told() and (left := end - time.monotonic()) > 0:
            told = self.hear(min(left, SLICE_SECONDS))
            if URGENT in told:
                return
            if told:
                end = min(end, begin + calm)

    def hear(self, seconds: float) -> set[str]:
        """What is told within some seconds; returns with the first word."""
        if self.link is None:
            time.sleep(min(seconds, 0.05))
            self.connect()
            return set()
        told = set()
        try:
            for word in self.link.notifies(timeout=seconds, stop_after=1):
                workspace_id, _, what = word.payload.partition(" ")
                if workspace_id == self.workspace_id:
                    told.add(what)
        except psycopg.Error as error:
            log.warning("listening.lost", error=str(error).strip())
            self.disconnect()
        return told
