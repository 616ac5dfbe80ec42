"""The loop that sends: one thread talks to the database, a thread a request talks to a receiver."""

import os
import select
import time
import uuid
from collections import deque
from contextlib import suppress
from threading import Thread

import psycopg
import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models.functions import Now

from controlcenter.platform.common.listener import Listener
from controlcenter.platform.runs.models import Chore
from controlcenter.platform.webhooks import queue
from controlcenter.platform.webhooks.outbox import CHANNEL
from controlcenter.platform.webhooks.posting import TOTAL_SECONDS, Answer, post
from controlcenter.platform.webhooks.queue import ClaimedDelivery

log = structlog.get_logger(__name__)
CHORE = "webhooks"
ALIVE = settings.DATA_DIR / "webhooks.alive"
ROOM = 32
"""Requests under way at a time, in this process."""
IDLE_SECONDS = 1.0
UPKEEP_SECONDS = 5.0
DATABASE_AWAY = (DatabaseError, psycopg.Error)


class Sender:
    """Claims, sends, writes down. Several may run: each delivery is claimed by one of them.

    What was sent and could not be written down, because the database is away, is kept and written
    when it is back.
    """

    def __init__(self) -> None:
        self.stopping = False
        self.under_way: set[tuple[uuid.UUID, int]] = set()
        self.ended: deque[tuple[ClaimedDelivery, Answer]] = deque()
        self.next_upkeep = 0.0
        self.listener = Listener(CHANNEL)
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_write, False)
        os.set_blocking(self.wake_read, False)

    def stop(self) -> None:
        """Claim no more; safe in a signal handler."""
        self.stopping = True
        self.ring()

    def run(self) -> None:
        """Until ``stop``; then what is under way is ended and written down."""
        while not self.stopping:
            ALIVE.touch()
            try:
                self.turn()
            except DATABASE_AWAY as error:
                self.database_away(error)
        self.finish()

    def turn(self) -> None:
        """Write down what ended, send what is due, wait for more."""
        self.settle()
        if time.monotonic() >= self.next_upkeep:
            self.keep_up()
            self.next_upkeep = time.monotonic() + UPKEEP_SECONDS
        self.listener.listen()  # before looking: nothing is missed
        if self.send_due() == 0:
            self.wait(IDLE_SECONDS)

    def send_due(self) -> int:
        """Start a request for each delivery that can be had."""
        deliveries = queue.claim(ROOM - len(self.under_way))
        for claimed in deliveries:
            self.under_way.add((claimed.id, claimed.attempt))
            Thread(target=self.send, args=[claimed], daemon=True).start()
        return len(deliveries)

    def send(self, claimed: ClaimedDelivery) -> None:
        """One request, in a thread of its own that never asks the database."""
        answer = Answer(error="the sender failed: see its log")
        try:
            if claimed.trouble:
                answer = Answer(error=claimed.trouble)
            else:
                answer = post(
                    claimed.url,
                    body=claimed.body,
                    headers=claimed.headers,
                    private=settings.WEBHOOK_PRIVATE_ADDRESSES,
                )
        except Exception:  # a thread that ends silently would keep its place for ever
            log.exception("webhook.sender_failed", delivery=str(claimed.id))
        self.ended.append((claimed, answer))
        self.ring()

    def settle(self) -> None:
        """Write down what ended; what can't be written now stays."""
        while self.ended:
            claimed, answer = self.ended[0]
            status = queue.settle(claimed, answer)
            self.ended.popleft()
            self.under_way.discard((claimed.id, claimed.attempt))
            log.info(
                "webhook.sent",
                delivery=str(claimed.id),
                webhook=str(claimed.webhook),
                attempt=claimed.attempt,
                code=answer.status,
                error=answer.error,
                status=status,
            )

    def keep_up(self) -> None:
        """Say that a sender is there, and what has to be done now and then."""
        Chore.objects.update_or_create(name=CHORE, defaults={"last_at": Now()})
        queue.drop_waiting()
        queue.forget_old()

    def wait(self, seconds: float) -> None:
        """Until there may be something to do: a notification, the end of a request, or the time."""
        self.listener.wait(seconds, wakers=[self.wake_read])
        self.hush()

    def ring(self) -> None:
        with suppress(BlockingIOError):  # it is full of rings that nobody heard yet
            os.write(self.wake_write, b"!")

    def hush(self) -> None:
        with suppress(BlockingIOError):  # nobody rang
            os.read(self.wake_read, 65536)

    def database_away(self, error: Exception) -> None:
        log.warning("webhook.database_away", error=str(error).strip())
        connection.close()
        select.select([self.wake_read], [], [], IDLE_SECONDS)
        if not self.stopping:
            time.sleep(IDLE_SECONDS / 4)
        self.hush()

    def finish(self) -> None:
        """Wait for requests under way and write them down; what is left goes out again."""
        deadline = time.monotonic() + TOTAL_SECONDS + 1
        while len(self.under_way) > len(self.ended) and time.monotonic() < deadline:
            select.select([self.wake_read], [], [], 0.2)
            self.hush()
        try:
            self.settle()
        except DATABASE_AWAY as error:
            log.warning("webhook.not_written_down", left=len(self.ended), error=str(error).strip())
        self.listener.close()
        connection.close()
