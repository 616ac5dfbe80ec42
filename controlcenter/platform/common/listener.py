"""Waiting for a NOTIFY of PostgreSQL, on a connection of its own."""

import select
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import psycopg
import structlog
from django.db import connection

log = structlog.get_logger(__name__)
RETRY_SECONDS = 0.25
"""A rest before the next try where there is no connection."""


class Listener:
    """Hears a channel. A lost connection is opened again; meanwhile it just waits.

    A notification is a hint to look: who listens before it looks, and looks now and then unasked,
    misses nothing.

    Args:
        channel: Name of the channel, an identifier of PostgreSQL.
    """

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self._link: Any = None

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def listen(self) -> bool:
        """Listen from now on, if the database is there.

        Returns:
            Whether it does.
        """
        if self._link is None:
            try:
                link = connection.get_new_connection(connection.get_connection_params())
                link.autocommit = True
                link.execute(f"LISTEN {self.channel}")
                self._link = link
            except psycopg.Error as error:
                log.warning("listening.no_connection", error=str(error).strip())
        return self._link is not None

    def close(self) -> None:
        """Stop listening."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def wait(self, seconds: float, *, wakers: Sequence[int] = ()) -> list[str]:
        """What is told within some seconds; returns as soon as something is.

        Args:
            wakers: File descriptors; it returns as soon as one of them can be read.

        Returns:
            The payloads, in order; empty where nothing was told, or the connection is lost.
        """
        end = time.monotonic() + seconds
        if not self.listen():
            select.select(wakers, [], [], min(seconds, RETRY_SECONDS))
            return []
        try:
            payloads = self._received()
            if not payloads:
                left = max(end - time.monotonic(), 0.0)
                select.select([self._link.fileno(), *wakers], [], [], left)
                payloads = self._received()
        except psycopg.Error as error:
            log.warning("listening.lost", error=str(error).strip())
            self.close()
            return []
        return payloads

    def _received(self) -> list[str]:
        return [notification.payload for notification in self._link.notifies(timeout=0)]
