"""Publish the outbox as it fills, reap, fire schedules; only the first needs the broker."""

import signal
import time
from typing import Any

import psycopg
import structlog
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection

from controlcenter.platform.runs.outbox import BATCH, CHANNEL, relay
from controlcenter.platform.runs.reaper import chores, reap

log = structlog.get_logger(__name__)
IDLE_SECONDS = 1.0
REAP_SECONDS = 5.0
ALIVE = settings.DATA_DIR / "relay.alive"


class Command(BaseCommand):
    """Runs until it is told to stop. Several may run; each message is sent by one of them."""

    help = "Publish the outbox to the broker, run the reaper, fire the schedules that are due."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stopping = False
        self.listening: object = None
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self.stop)
        next_reap = 0.0
        while not self.stopping:
            ALIVE.touch()
            try:
                if time.monotonic() >= next_reap:
                    reap()
                    chores()
                    next_reap = time.monotonic() + REAP_SECONDS
                self.listen()  # before looking: nothing is missed
                if relay() < BATCH:
                    self.sleep_until_notified()
            except (DatabaseError, psycopg.Error) as error:
                log.warning("relay.database_away", error=str(error).strip())
                connection.close()
                time.sleep(IDLE_SECONDS)

    def stop(self, *_: object) -> None:
        self.stopping = True

    def listen(self) -> None:
        connection.ensure_connection()
        if self.listening is not connection.connection:
            connection.connection.execute(f"LISTEN {CHANNEL}")
            self.listening = connection.connection

    def sleep_until_notified(self) -> None:
        """Wait for a NOTIFY of the outbox, at most ``IDLE_SECONDS`` (delayed rows have none)."""
        link = connection.connection
        for _ in link.notifies(timeout=IDLE_SECONDS, stop_after=1):
            pass
        for _ in link.notifies(timeout=0):  # one look answers all of them
            pass
