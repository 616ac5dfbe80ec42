"""The run protocol: claim, heartbeat, checkpoint, commit, give up (DESIGN section 5).

Delivery is at least once and a run may be done twice; its effect is committed once, because each
claim takes a new epoch and every write checks it. Lock order everywhere: Task, then Run.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Q
from django.db.models.functions import Now

from controlcenter.artifacts.models import Artifact
from controlcenter.artifacts.services import record
from controlcenter.artifacts.store import Stored
from controlcenter.tasks import kinds, states, workflows
from controlcenter.tasks.machine import move, seen
from controlcenter.tasks.models import Run, RunStatus, Task, TaskEvent
from controlcenter.tasks.outbox import enqueue

log = structlog.get_logger(__name__)
CHECKPOINT = "checkpoint"
RETRY_DELAY_LIMIT = timedelta(seconds=60)


class Fenced(Exception):
    """The run is no longer this worker's: its lease ended or somebody else holds it."""


class CancelRequested(Exception):
    """Somebody asked to cancel; cancel wins over completion."""


@dataclass(frozen=True)
class Claim:
    """A run that this worker holds, until its lease ends.

    Args:
        epoch: Taken anew at each claim; fences all writes.
    """

    run_id: uuid.UUID
    epoch: int
    kind: str
    subject: str
    attempt: int
    iteration: int
    workspace_id: uuid.UUID
    task_id: uuid.UUID | None
    payload: dict[str, Any]
    request_id: str

    @property
    def prefix(self) -> str:
        """Where this claim's objects go; no other claim writes there."""
        if self.task_id:
            return f"tasks/{self.task_id}/it{self.iteration}/{self.kind}/e{self.epoch}"
        return f"tasks/runs/{self.run_id}/{self.kind}/e{self.epoch}"


@dataclass
class Commit:
    """What a worker adds to the transaction that ends its run."""

    claim: Claim
    run: Run
    task: Task | None
    metrics: dict[str, Any] = field(default_factory=dict)

    def artifact(self, stored: Stored, name: str) -> Artifact:
        """Record an object written by this claim."""
        return record(
            workspace=self.run.workspace,
            stored=stored,
            name=name,
            run_id=self.claim.run_id,
            epoch=self.claim.epoch,
        )


def lease() -> timedelta:
    return timedelta(seconds=settings.LEASE_SECONDS)


def queue_run(
    *,
    workspace: models.Model,
    kind: str,
    task: Task | None = None,
    subject: str = "",
    payload: dict[str, Any] | None = None,
    request_id: str = "",
) -> Run:
    """A queued run and the message for it, in the caller's transaction."""
    device = task.parameters.get("device", "auto") if task else "auto"
    run = Run.objects.create(
        workspace_id=workspace.pk,
        task=task,
        iteration=task.iteration if task else 0,
        kind=kind,
        subject=subject,
        payload=payload or {},
        queue=kinds.queue_for(kind, device),
        request_id=request_id or (task.request_id if task else ""),
    )
    enqueue(run)
    return run


def lock(run_id: uuid.UUID, *, skip_locked: bool = False) -> tuple[Run, Task | None]:
    """Lock the run's task, then the run.

    Args:
        skip_locked: Do not wait for rows that somebody else has locked: they are not there then.

    Raises:
        Run.DoesNotExist, Task.DoesNotExist: if there is no such row.
    """
    task_id = Run.objects.values_list("task_id", flat=True).get(pk=run_id)
    tasks = Task.objects.select_for_update(skip_locked=skip_locked)
    task = tasks.get(pk=task_id) if task_id else None
    locked = Run.objects.select_for_update(of=("self",), skip_locked=skip_locked)
    run = locked.select_related("workspace").get(pk=run_id)
    run.task = task
    return run, task


def is_next(task: Task) -> bool:
    """Whether a pending task may start: nothing is active and it heads the workspace's queue."""
    others = Task.objects.filter(workspace=task.workspace_id).exclude(pk=task.pk)
    if others.filter(state__in=states.ACTIVE).exists():
        return False
    started = Run.objects.filter(task=models.OuterRef("pk"), status=RunStatus.QUEUED)
    ahead = others.filter(state=states.PENDING).filter(
        Q(priority__gt=task.priority) | Q(priority=task.priority, created_at__lt=task.created_at)
    )
    return not ahead.filter(models.Exists(started)).exists()


@transaction.atomic
def claim(run_id: uuid.UUID, *, owner: str) -> Claim | None:
    """Take a queued run, or None: done, held by another, or not its turn. Then drop the message.

    Args:
        owner: Name of the worker, for people; it fences nothing.
    """
    try:
        run, task = lock(run_id)
    except Run.DoesNotExist:
        return None
    if run.status != RunStatus.QUEUED:
        return None
    if task is not None:
        if task.cancel_requested_at is not None:
            return None
        if task.state == states.PENDING:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                    [f"queue {task.workspace_id}"],
                )
            if not is_next(task):
                return None
        elif (task.state, task.iteration) != (run.kind, run.iteration):
            return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('tasks_run_epoch')")
        epoch: int = cursor.fetchone()[0]
    taken = Run.objects.filter(pk=run_id, status=RunStatus.QUEUED, available_at__lte=Now()).update(
        status=RunStatus.RUNNING,
        epoch=epoch,
        lease_owner=owner,
        lease_expires_at=Now() + lease(),
        heartbeat_at=Now(),
        started_at=Now(),
    )
    if taken != 1:
        return None
    if task is not None and task.state == states.PENDING:
        move(task, run.kind, expected=seen(task), actor=owner, reason=f"{run.kind} began")
    return Claim(
        run_id=run.pk,
        epoch=epoch,
        kind=run.kind,
        subject=run.subject,
        attempt=run.attempt,
        iteration=run.iteration,
        workspace_id=run.workspace_id,
        task_id=run.task_id,
        payload=run.payload,
        request_id=run.request_id,
    )


@transaction.atomic
def beat(held: Claim, progress: Sequence[dict[str, Any]] = ()) -> bool:
    """Renew the lease and carry what progress there was since the last time, oldest first.

    Returns:
        Whether somebody asked to cancel.

    Raises:
        Fenced: if the lease is not this claim's any more.
    """
    task = Task.objects.select_for_update().get(pk=held.task_id) if held.task_id else None
    change: dict[str, Any] = {"lease_expires_at": Now() + lease(), "heartbeat_at": Now()}
    if progress:
        change["progress"] = progress[-1]
    renewed = Run.objects.filter(
        pk=held.run_id,
        epoch=held.epoch,
        status=RunStatus.RUNNING,
        lease_expires_at__gt=Now(),
    ).update(**change)
    if renewed != 1:
        raise Fenced(f"run {held.run_id} epoch {held.epoch}: the lease is not ours any more")
    if task is not None:
        TaskEvent.objects.bulk_create(
            TaskEvent(task=task, kind="progress", data={"stage": held.kind, **one})
            for one in progress
        )
    return task is not None and task.cancel_requested_at is not None


def held_run(held: Claim) -> tuple[Run, Task | None]:
    """The locked rows of a claim.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, task = lock(held.run_id)
    if (run.status, run.epoch) != (RunStatus.RUNNING, held.epoch):
        raise Fenced(f"run {held.run_id} is {run.status} in epoch {run.epoch}, not {held.epoch}")
    return run, task


@transaction.atomic
def save_checkpoint(held: Claim, stored: Stored) -> None:
    """Point the run at a checkpoint that was stored; the next attempt goes on from it.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, _ = held_run(held)
    Artifact.objects.filter(run_id=run.pk, epoch=held.epoch, name=CHECKPOINT).delete()
    artifact = record(
        workspace=run.workspace, stored=stored, name=CHECKPOINT, run_id=run.pk, epoch=held.epoch
    )
    Run.objects.filter(pk=run.pk).update(checkpoint=artifact)


@contextmanager
def committing(held: Claim) -> Iterator[Commit]:
    """The transaction that ends a run: what happens inside is committed with it, or not at all.

    Checks epoch and flags under the locks, lets the worker add its effects, marks the run done,
    takes the next edge and queues the next stage.

    Raises:
        Fenced: if the run is not this claim's any more.
        CancelRequested: if a cancel came first.
    """
    with transaction.atomic():
        run, task = held_run(held)
        if task is not None and task.cancel_requested_at is not None:
            raise CancelRequested(f"task {task.pk} is to be cancelled")
        commit = Commit(held, run, task)
        yield commit
        close(run, RunStatus.DONE, metrics=commit.metrics)
        if task is not None:
            advance(task, run.kind, actor=run.lease_owner)


def advance(task: Task, stage: str, *, actor: str) -> None:
    """Move a task on after a stage, and queue what comes next."""
    target = workflows.next_state(task.workflow, task.mode, stage)
    move(task, target, expected=seen(task), actor=actor, reason=f"{stage} done")
    if target in states.FINAL:
        wake_next(task)
        return
    moved = Task.objects.get(pk=task.pk)
    queue_run(workspace=task.workspace, kind=target, task=moved)


def close(run: Run, status: str, **change: Any) -> None:
    """End a locked run."""
    Run.objects.filter(pk=run.pk).update(
        status=status, finished_at=Now(), lease_expires_at=None, **change
    )


def wake_next(task: Task) -> None:
    """Send a hint for the head of the workspace's queue; the claim decides."""
    head = (
        Run.objects.filter(
            task__workspace=task.workspace_id, task__state=states.PENDING, status=RunStatus.QUEUED
        )
        .order_by("-task__priority", "task__created_at")
        .first()
    )
    if head is not None:
        enqueue(head)


@transaction.atomic
def give_up(held: Claim, *, sentence: str, traceback: str = "") -> None:
    """The run failed by its own fault (data or code): the task fails with a sentence.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, task = held_run(held)
    fail_locked(run, task, sentence=sentence, traceback=traceback, actor=run.lease_owner)


def fail_locked(
    run: Run, task: Task | None, *, sentence: str, traceback: str = "", actor: str
) -> None:
    close(run, RunStatus.FAILED, error=sentence, traceback=traceback)
    if task is None:
        failed = kinds.get(run.kind).on_failed
        if failed is not None:
            failed(run, sentence)
        return
    if task.cancel_requested_at is not None:
        finish_cancel(task, actor=actor)
        return
    if task.state == states.PENDING:
        move(task, states.CANCELLED, expected=seen(task), actor=actor, reason=sentence)
    else:
        move(task, states.FAILED, expected=seen(task), actor=actor, reason=sentence)
    Task.objects.filter(pk=task.pk).update(error=sentence)
    wake_next(task)


@transaction.atomic
def acknowledge_cancel(held: Claim) -> None:
    """The worker stopped because of a cancel: now the task is cancelled.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, task = held_run(held)
    close(run, RunStatus.CANCELLED, error="Cancelled while it ran.")
    if task is not None:
        finish_cancel(task, actor=run.lease_owner)


def finish_cancel(task: Task, *, actor: str) -> None:
    reason = f"cancelled by {task.cancel_requested_by}"
    move(task, states.CANCELLED, expected=seen(task), actor=actor, reason=reason)
    wake_next(task)


@transaction.atomic
def let_go(held: Claim, *, reason: str) -> None:
    """The worker must stop (shutdown, a part of the system is away): another goes on.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, task = held_run(held)
    lose_locked(run, task, reason=reason)


def lose_locked(run: Run, task: Task | None, *, reason: str) -> None:
    """Close a run that was lost and queue the next attempt, or give up after the last."""
    if task is not None and task.cancel_requested_at is not None:
        close(run, RunStatus.CANCELLED, error=reason)
        finish_cancel(task, actor="reaper")
        return
    if run.attempt >= settings.RUN_ATTEMPTS:
        sentence = (
            f"{run.kind.capitalize()} was lost {run.attempt} times, the last time because "
            f"{reason} Look at the worker's log and memory, then create the task again."
        )
        fail_locked(run, task, sentence=sentence, actor="reaper")
        return
    close(run, RunStatus.LOST, error=reason)
    delay = min(timedelta(seconds=2 ** (run.attempt - 1) - 1), RETRY_DELAY_LIMIT)
    following = Run.objects.create(
        workspace_id=run.workspace_id,
        task=task,
        kind=run.kind,
        subject=run.subject,
        payload=run.payload,
        queue=run.queue,
        iteration=run.iteration,
        attempt=run.attempt + 1,
        checkpoint_id=run.checkpoint_id,
        request_id=run.request_id,
        available_at=Now() + delay,
    )
    enqueue(following, delay=delay)
    if task is not None:
        data = {"stage": run.kind, "attempt": following.attempt, "reason": reason}
        TaskEvent.objects.create(task=task, kind="retry", data=data)
    log.warning("run.lost", run_id=str(run.pk), kind=run.kind, attempt=run.attempt, reason=reason)


def outputs(task: Task, kind: str) -> list[Artifact]:
    """Artifacts of the stage's committed run in the task's iteration.

    Raises:
        LookupError: if the stage was not done.
    """
    done = Run.objects.filter(
        task=task, iteration=task.iteration, kind=kind, status=RunStatus.DONE
    ).first()
    if done is None:
        raise LookupError(f"task {task.pk} has no finished {kind}")
    return list(Artifact.objects.filter(run_id=done.pk, epoch=done.epoch).exclude(name=CHECKPOINT))
