"""The incremental refresh of a workspace: a run that lasts until it is told to end."""

import time

import structlog
from django.conf import settings

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.platform.artifacts.store import (
    ObjectDamaged,
    ObjectMissing,
    StoreUnavailable,
    store,
)
from controlcenter.platform.runs.claims import CancelRequested, Fenced
from controlcenter.serving.incremental import holder
from controlcenter.serving.incremental.holder import HeldLoop, Superseded
from ml.incremental.arrivals import SchemaChanged
from workers.loops.engine_start import EngineStart, checkpoint_bytes, from_checkpoint, from_graph
from workers.loops.loop_listener import LoopListener
from workers.loops.refresher import Refresher, refuse_another_schema
from workers.runtime.errors import PermanentError, RetryableError, WorkerStopping
from workers.runtime.execution import Execution
from workers.runtime.retries import CONNECTION_ERRORS, STORE_PATIENCE

log = structlog.get_logger(__name__)
TICK_SECONDS = 0.05
"""Events that come within it are taken together."""

IDLE_SECONDS = 1.0
DRAIN_SHARE = 0.25
"""Share of the time that goes into draining while nobody waits."""

FIRST_AUDIT_TICKS, AUDIT_TICKS = 100, 2_000
"""The first comes soon: a holder may not live for long."""

AUDIT_ROWS = 200
AUDIT_LIMIT = 1e-4
"""A row is promised to 1e-5, as tests draw it. After 40,000 ticks at hubs, whose sums are added up
tick by tick in float32, it was 5e-6; other weights may make more of a rounding. Mistakes make 1e-2
and more, and a false alarm costs a full pass."""

EXPECTED = (
    Fenced,
    CancelRequested,
    PermanentError,
    RetryableError,
    WorkerStopping,
    Superseded,
    StoreUnavailable,
    *CONNECTION_ERRORS,
)


def work(execution: Execution) -> None:
    """A run of the kind ``incremental``."""
    with LoopListener(execution.claim.workspace_id) as listener:
        while True:
            held = execution.with_database(lambda: holder.acquire(execution.claim))
            if held is None:
                if execution.with_database(lambda: holder.finish(execution.claim)):
                    return
                continue
            try:
                if hold(execution, held, listener):
                    return
            except Superseded as reason:
                log.info("incremental.superseded", reason=str(reason))
            except EXPECTED:
                raise
            except SchemaChanged as error:
                raise PermanentError(
                    f"The schema changed: {error}. Run a refresh task, then start the incremental "
                    "refresh again."
                ) from error
            except Exception as error:
                # Perhaps it passes; what fails again and again without progress is given up.
                log.exception("incremental.failed")
                raise RetryableError(f"it failed: {type(error).__name__}: {error}.") from error


def hold(execution: Execution, held: HeldLoop, listener: LoopListener) -> bool:
    """Keep the profiles of one generation fresh.

    Returns:
        True once it is handed back, False to begin anew from the version.

    Raises:
        PermanentError: if the workspace has another schema than the version.
        Superseded: if a task replaced the profiles.
        WorkerStopping: if this worker is to stop; the states are stored then.
    """
    version = ModelVersion.objects.get(pk=held.version_id)
    refuse_another_schema(execution.claim.workspace_id, version)
    execution.progress(0.0, f"loading {version}")
    refresher = Refresher(execution, held, version, start_engine(execution, held, version))
    execution.progress(0.0, "catching up with the event log")
    execution.with_database(lambda: refresher.catch_up(held.position))
    refresher.publish()
    execution.progress(0.0, f"refreshing with {version}")
    loop = Upkeep(execution, refresher)
    while True:
        try:
            execution.check()
        except WorkerStopping:
            loop.keep()
            raise
        instructions = execution.with_database(
            lambda: holder.instructions(execution.claim.workspace_id)
        )
        if instructions.generation != held.generation:
            raise Superseded(f"the profiles are of generation {instructions.generation}")
        if not instructions.enabled and loop.end():
            return True
        execution.with_database(refresher.consume)
        refresher.answer(instructions.requests)
        if not loop.run_chores():
            return False
        listener.wait(loop.idle_seconds(), debounce=TICK_SECONDS)


def start_engine(execution: Execution, held: HeldLoop, version: ModelVersion) -> EngineStart:
    """From the last checkpoint, else from the graph of the profiles."""
    if held.checkpoint is not None:
        try:
            return from_checkpoint(execution, version, held.checkpoint)
        except (ObjectMissing, ObjectDamaged) as error:
            log.warning("incremental.checkpoint_lost", error=str(error))
    return from_graph(execution, version, held.graph)


class Upkeep:
    """What is done now and then: draining, the audit, checkpoints."""

    def __init__(self, execution: Execution, refresher: Refresher) -> None:
        self.execution = execution
        self.refresher = refresher
        self.next_drain = 0.0
        self.next_checkpoint = time.monotonic() + settings.INCREMENTAL_CHECKPOINT_SECONDS
        self.next_audit = refresher.ticks + FIRST_AUDIT_TICKS

    def run_chores(self) -> bool:
        """Returns: False if the states turned out wrong and the version is to be loaded anew."""
        begin = time.monotonic()
        if self.refresher.stale and not self.refresher.waiting and begin >= self.next_drain:
            self.refresher.drain()
            spent = time.monotonic() - begin
            self.next_drain = time.monotonic() + spent * (1 / DRAIN_SHARE - 1)
        if self.refresher.ticks >= self.next_audit:
            self.next_audit = self.refresher.ticks + AUDIT_TICKS
            if not self.audit():
                return False
        if time.monotonic() >= self.next_checkpoint:
            self.keep()
            self.next_checkpoint = time.monotonic() + settings.INCREMENTAL_CHECKPOINT_SECONDS
        return True

    def keep(self) -> None:
        """Store the states, if they are others than the last time."""
        if self.refresher.unsaved:
            self.checkpoint()

    def end(self) -> bool:
        """Hand the loop back, with the states for who starts it again.

        Returns:
            False where somebody switched it on again meanwhile.
        """
        try:
            self.keep()
        except StoreUnavailable as error:  # it is to be off all the same; the log is replayed
            log.warning("incremental.checkpoint_missed", error=str(error))
        return self.execution.with_database(lambda: holder.finish(self.execution.claim))

    def idle_seconds(self) -> float:
        """Seconds until there is something to do by itself."""
        if self.refresher.waiting:
            return 0.0
        if self.refresher.stale:
            return max(self.next_drain - time.monotonic(), 0.0)
        return IDLE_SECONDS

    def audit(self) -> bool:
        audit = self.refresher.engine.audit(rows=AUDIT_ROWS, seed=self.refresher.ticks)
        workspace_id = self.execution.claim.workspace_id
        self.execution.with_database(
            lambda: holder.note_audit(workspace_id, rows=audit.rows, error=audit.relative)
        )
        if audit.relative <= AUDIT_LIMIT:
            return True
        log.error("incremental.audit_failed", error=f"{audit.relative:.1e}", rows=audit.rows)
        self.execution.with_database(
            lambda: holder.drop_checkpoint(self.execution.claim, self.refresher.generation)
        )
        return False

    def checkpoint(self) -> None:
        """Store the states; the checkpoint before is removed once this one is recorded."""
        path = self.execution.folder / "checkpoint"
        path.write_bytes(
            checkpoint_bytes(self.refresher.engine, self.refresher.position, self.refresher.waiting)
        )
        stored, _ = self.execution.put(path, f"checkpoint-{self.refresher.ticks}")
        path.unlink()
        before = self.execution.with_database(
            lambda: holder.save_checkpoint(self.execution.claim, self.refresher.generation, stored)
        )
        self.refresher.unsaved = False
        if before is not None:
            store(patience=STORE_PATIENCE).remove([before])
        log.info("incremental.checkpoint", bytes=stored.size)
