"""A claimed run while it is worked on: its folder, its objects, its checkpoint, its commit."""

import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from controlcenter.platform.artifacts.store import Stored, store
from controlcenter.platform.runs import commits
from controlcenter.platform.runs.claims import Claim
from controlcenter.platform.runs.commits import Commit
from controlcenter.platform.runs.models import Run, RunStatus
from workers.runtime.heartbeat import Heartbeat
from workers.runtime.interrupts import Interrupts
from workers.runtime.retries import STORE_PATIENCE, Answer, retry_while_disconnected


class Execution:
    """One claimed run while it is worked on.

    Args:
        folder: A temporary folder, removed when the run ends.
    """

    def __init__(self, claim: Claim, folder: Path) -> None:
        self.claim = claim
        self.folder = folder
        self._interrupts = Interrupts(self._check_if_stopping)
        self._heartbeat = Heartbeat(claim, on_stop=self._interrupts.send)

    def __enter__(self) -> Self:
        self._interrupts.install()
        self._heartbeat.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._interrupts.end()
        self._heartbeat.stop()

    def progress(self, share: float, message: str, **data: Any) -> None:
        """Say how far the stage is (0 to 1); the next heartbeat carries it. Checks for a stop."""
        self._heartbeat.report({"share": round(share, 4), "message": message, **data})
        self.check()

    def should_stop(self) -> bool:
        """Whether the run was cancelled, suspended or lost, or the worker is to stop."""
        return self._heartbeat.should_stop()

    def check(self) -> None:
        """Raises: Fenced, CancelRequested, SuspendRequested, WorkerStopping if it is to end."""
        self._heartbeat.check()

    def _check_if_stopping(self) -> None:
        if self.should_stop():
            self.check()

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """For what asks often enough whether to stop, or must not be torn apart."""
        with self._interrupts.held_off():
            yield
        self.check()

    def put(self, path: Path, name: str) -> tuple[Stored, str]:
        """Store a file under this claim's prefix; it is recorded at the commit."""
        self._heartbeat.check_still_needed()
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
        self.with_database(lambda: commits.save_checkpoint(self.claim, stored))

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
            self._heartbeat.flush()
            with commits.committing(self.claim) as commit:
                effect(commit)

        # Not asking the heartbeat in between: after a commit it finds the lease gone, rightly.
        self._heartbeat.check_still_needed()
        self._interrupts.end()
        retry_while_disconnected(once)

    def _is_done(self) -> bool:
        return Run.objects.filter(
            pk=self.claim.run_id, epoch=self.claim.epoch, status=RunStatus.DONE
        ).exists()

    def with_database(self, call: Callable[[], Answer]) -> Answer:
        """Do it again after the database came back."""
        return retry_while_disconnected(call, on_wait=self.check)
