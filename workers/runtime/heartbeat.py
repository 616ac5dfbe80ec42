"""The heartbeat of a claimed run: a thread that renews its lease and hears what was requested."""

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.db import connections as django_connections

from controlcenter.platform.runs import claims
from controlcenter.platform.runs.claims import CancelRequested, Claim, Fenced, SuspendRequested
from controlcenter.platform.runs.owners import StopRequest
from workers.runtime import shutdown
from workers.runtime.errors import WorkerStopping

log = structlog.get_logger(__name__)
BEAT_SECONDS = 1.0
LEASE_SHARE = 0.8
"""Of the lease: without an answer for so long the worker stops itself, before it ends."""

MAX_PROGRESS = 100


class Heartbeat:
    """Renews a claim's lease once a second, on a connection of its own.

    Args:
        on_stop: Called at each beat while the run should end and has not.
    """

    def __init__(self, claim: Claim, *, on_stop: Callable[[], None]) -> None:
        self.claim = claim
        self._on_stop = on_stop
        self._renewed = time.monotonic()
        self._progress: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._requested: StopRequest | None = None
        self._fenced = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_done, daemon=True, name="heartbeat")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def report(self, step: dict[str, Any]) -> None:
        """Progress that the next beat carries."""
        with self._lock:
            self._progress.append(step)

    def should_stop(self) -> bool:
        """Whether the run was cancelled, suspended or lost, or the worker is to stop."""
        return self._fenced.is_set() or self._requested is not None or shutdown.requested()

    def check(self) -> None:
        """Raises: Fenced, CancelRequested, SuspendRequested, WorkerStopping if it is to end."""
        self.check_still_needed()
        if self._requested is StopRequest.SUSPEND:
            raise SuspendRequested(f"run {self.claim.run_id} is to be suspended")
        if shutdown.requested():
            raise WorkerStopping("the worker was asked to stop.")

    def check_still_needed(self) -> None:
        """Raises: Fenced or CancelRequested if nothing of the run is of use any more."""
        if self._fenced.is_set():
            raise Fenced(f"run {self.claim.run_id}: the lease was lost while it ran")
        if self._requested is StopRequest.CANCEL:
            raise CancelRequested(f"run {self.claim.run_id} is to be cancelled")

    def flush(self) -> None:
        """Beat now if there is progress to carry, or a beat is due.

        Raises:
            Fenced: if the lease is not the claim's any more.
        """
        if self._progress or time.monotonic() > self._renewed + BEAT_SECONDS:
            self._beat(self._take_progress())

    def _take_progress(self) -> list[dict[str, Any]]:
        with self._lock:
            steps, self._progress = self._progress[-MAX_PROGRESS:], []
        return steps

    def _beat(self, steps: list[dict[str, Any]]) -> StopRequest | None:
        requested = claims.beat(self.claim, steps)
        self._renewed = time.monotonic()
        return requested

    def _beat_until_done(self) -> None:
        while not self._done.wait(BEAT_SECONDS):
            if self.should_stop():
                self._on_stop()
            steps = self._take_progress()
            try:
                # A cancel stays, whatever is requested after it.
                requested = self._beat(steps)
                if self._requested is not StopRequest.CANCEL:
                    self._requested = requested or self._requested
            except Fenced as error:
                log.warning("run.fenced", error=str(error))
                self._fenced.set()
                break
            except DatabaseError as error:
                log.warning("run.heartbeat_failed", error=str(error).strip())
                django_connections.close_all()
                with self._lock:
                    self._progress = steps + self._progress
                if time.monotonic() > self._renewed + settings.LEASE_SECONDS * LEASE_SHARE:
                    self._fenced.set()
                    break
        django_connections.close_all()
