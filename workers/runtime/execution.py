"""A claimed run while it is worked on: its heartbeat, its folder, its artifacts, its commit."""

import itertools
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError
from django.db import connections as django_connections

from controlcenter.modelling.tasks import claims, runs
from controlcenter.modelling.tasks.claims import CancelRequested, Claim, Fenced, SuspendRequested
from controlcenter.modelling.tasks.models import Run, RunStatus
from controlcenter.modelling.tasks.runs import Commit
from controlcenter.platform.artifacts.store import Stored, store
from workers.runtime import shutdown

log = structlog.get_logger(__name__)
BEAT_SECONDS = 1.0
INTERRUPT_SECONDS = 3.0
"""What does not ask by itself whether to stop is interrupted after so long."""

MAX_PROGRESS = 100
STORE_PATIENCE = 90.0
DATABASE_PATIENCE = 90.0
CONNECTION_ERRORS = (OperationalError, InterfaceError)
Answer = TypeVar("Answer")


class PermanentError(Exception):
    """The run can't succeed, however often it is tried: a sentence for the operator."""


class RetryableError(Exception):
    """The run ends here for a reason that may pass, and another attempt goes on."""


class WorkerStopping(Exception):
    """The worker was asked to stop: another goes on with the run."""


class Execution:
    """One claimed run while it is worked on.

    Args:
        folder: A temporary folder, removed when the run ends.
    """

    def __init__(self, claim: Claim, folder: Path) -> None:
        self.claim = claim
        self.folder = folder
        self._renewed = time.monotonic()
        self._progress: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._cancelled = threading.Event()
        self._suspended = threading.Event()
        self._fenced = threading.Event()
        self._worker = threading.get_ident()
        self._interruptible = threading.current_thread() is threading.main_thread()
        self._thread = threading.Thread(target=self._beat_until_done, daemon=True, name="heartbeat")

    def __enter__(self) -> "Execution":
        if self._interruptible:
            signal.signal(signal.SIGUSR2, self._interrupted)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        # The handler stays, and does nothing from here on: the default would end the process.
        self._interruptible = False
        self._stop_heartbeat()

    def _stop_heartbeat(self) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def progress(self, share: float, message: str, **data: Any) -> None:
        """Say how far the stage is (0 to 1); the next heartbeat carries it. Checks for a stop."""
        with self._lock:
            self._progress.append({"share": round(share, 4), "message": message, **data})
        self.check()

    def should_stop(self) -> bool:
        """Whether the run was cancelled, suspended or lost, or the worker is to stop."""
        ended = self._cancelled.is_set() or self._fenced.is_set()
        return ended or self._suspended.is_set() or shutdown.told()

    def check(self) -> None:
        """Raises: Fenced, CancelRequested, SuspendRequested, WorkerStopping if it is to end."""
        self._check_wanted()
        if self._suspended.is_set():
            raise SuspendRequested(f"run {self.claim.run_id} is to be suspended")
        if shutdown.told():
            raise WorkerStopping("the worker was asked to stop.")

    def _check_wanted(self) -> None:
        """Raises: Fenced or CancelRequested if nothing of the run is of use any more."""
        if self._fenced.is_set():
            raise Fenced(f"run {self.claim.run_id}: the lease was lost while it ran")
        if self._cancelled.is_set():
            raise CancelRequested(f"run {self.claim.run_id} is to be cancelled")

    @contextmanager
    def asking(self) -> Iterator[None]:
        """For what asks often enough whether to stop, or must not be torn apart."""
        before, self._interruptible = self._interruptible, False
        try:
            yield
        finally:
            self._interruptible = before
        self.check()

    def _interrupted(self, *_: object) -> None:
        """In the main thread, between two steps of the interpreter."""
        if self._interruptible and self.should_stop():
            self.check()

    def put(self, path: Path, name: str) -> tuple[Stored, str]:
        """Store a file under this claim's prefix; it is recorded at the commit."""
        self._check_wanted()
        return store(patience=STORE_PATIENCE).put_path(f"{self.claim.prefix}/{name}", path), name

    def put_folder(self, folder: Path, prefix: str = "") -> list[tuple[Stored, str]]:
        """Store every file of a folder, named by its path below it."""
        return [
            self.put(path, prefix + path.relative_to(folder).as_posix())
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]

    def save_checkpoint(self, content: bytes) -> None:
        """Store a checkpoint and point the run at it."""
        path = self.folder / "checkpoint"
        path.write_bytes(content)
        stored, _ = self.put(path, f"checkpoint-{uuid.uuid4().hex[:8]}")
        self.with_database(lambda: runs.save_checkpoint(self.claim, stored))

    def load_checkpoint(self) -> bytes | None:
        """The checkpoint that an earlier attempt left, if any."""
        run = Run.objects.select_related("checkpoint").get(pk=self.claim.run_id)
        if run.checkpoint is None:
            return None
        path = self.folder / "checkpoint"
        store(patience=STORE_PATIENCE).fetch(run.checkpoint.key, path, sha256=run.checkpoint.sha256)
        return path.read_bytes()

    def commit(self, effect: Callable[[Commit], None]) -> None:
        """End the run with ``effect`` in the same transaction.

        A connection that is lost in COMMIT leaves open what happened: read the run again; done in
        this epoch means that it did.
        """

        tries = itertools.count()

        def once() -> None:
            if next(tries) and self._is_done():
                return
            if self._progress or time.monotonic() > self._renewed + BEAT_SECONDS:
                self._beat(self._take_progress())
            with runs.committing(self.claim) as commit:
                effect(commit)

        # Not asking the heartbeat in between: after a commit it finds the lease gone, rightly.
        self._check_wanted()
        self._interruptible = False
        retry_while_disconnected(once)

    def _is_done(self) -> bool:
        return Run.objects.filter(
            pk=self.claim.run_id, epoch=self.claim.epoch, status=RunStatus.DONE
        ).exists()

    def with_database(self, call: Callable[[], Answer]) -> Answer:
        """Do it again after the database came back."""
        return retry_while_disconnected(call, on_wait=self.check)

    def _take_progress(self) -> list[dict[str, Any]]:
        with self._lock:
            taken, self._progress = self._progress[-MAX_PROGRESS:], []
        return taken

    def _beat(self, progress: list[dict[str, Any]]) -> claims.Asked:
        asked = claims.beat(self.claim, progress)
        self._renewed = time.monotonic()
        return asked

    def _beat_until_done(self) -> None:
        deadline = time.monotonic() + settings.LEASE_SECONDS * 0.8
        interrupt = None
        while not self._done.wait(BEAT_SECONDS):
            if self.should_stop():
                interrupt = interrupt or time.monotonic() + INTERRUPT_SECONDS
                if time.monotonic() >= interrupt and self._interruptible:
                    signal.pthread_kill(self._worker, signal.SIGUSR2)
            progress = self._take_progress()
            try:
                asked = self._beat(progress)
                if asked.cancel:
                    self._cancelled.set()
                if asked.suspend:
                    self._suspended.set()
                deadline = time.monotonic() + settings.LEASE_SECONDS * 0.8
            except Fenced as error:
                log.warning("run.fenced", error=str(error))
                self._fenced.set()
                break
            except DatabaseError as error:
                log.warning("run.heartbeat_failed", error=str(error).strip())
                django_connections.close_all()
                with self._lock:
                    self._progress = progress + self._progress
                if time.monotonic() > deadline:
                    self._fenced.set()
                    break
        django_connections.close_all()


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
