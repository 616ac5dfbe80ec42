"""Publish the outbox as it fills, reap, fire schedules; only the first needs the broker."""

import signal
import time
from typing import Any

import psycopg
import structlog
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection

from controlcenter.platform.common.listener import Listener
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
        listener = Listener(CHANNEL)
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
                listener.listen()  # before looking: nothing is missed
                if relay() < BATCH:
                    listener.wait(IDLE_SECONDS)  # delayed rows have no NOTIFY
            except (DatabaseError, psycopg.Error) as error:
                log.warning("relay.database_away", error=str(error).strip())
                connection.close()
                time.sleep(IDLE_SECONDS)
        listener.close()

    def stop(self, *_: object) -> None:
        self.stopping = True
