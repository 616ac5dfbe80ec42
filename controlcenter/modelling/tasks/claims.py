"""Claims: who holds a run now, until when, and how that is checked.

Delivery is at least once and a run may be done twice; its effect is committed once, because each
claim takes a new epoch and every write checks it. Lock order everywhere: Task, then Run.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, models, transaction
from django.db.models.functions import Now

from controlcenter.modelling.tasks import protocol, states, workflows
from controlcenter.modelling.tasks.machine import move, seen
from controlcenter.modelling.tasks.models import Outbox, Run, RunStatus, Task, TaskEvent
from controlcenter.modelling.tasks.outbox import enqueue
from controlcenter.modelling.tasks.queueing import WAITING, has_place, is_next, limit_of, lock_pool

log = structlog.get_logger(__name__)
TOO_NEW_DELAY = timedelta(seconds=2)
"""After so long the hint about a run that a worker was too old for is sent again."""


class Fenced(Exception):
    """The run is no longer this worker's: its lease ended or somebody else holds it."""


class CancelRequested(Exception):
    """Somebody asked to cancel; cancel wins over completion."""


class SuspendRequested(Exception):
    """Somebody asked to suspend: the worker keeps what it has and gives the run back."""


@dataclass(frozen=True)
class Asked:
    """What a heartbeat brings back."""

    cancel: bool = False
    suspend: bool = False


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
    reuses: uuid.UUID | None = None

    @property
    def prefix(self) -> str:
        """Where this claim's objects go; no other claim writes there."""
        if self.task_id:
            return f"tasks/{self.task_id}/it{self.iteration}/{self.kind}/e{self.epoch}"
        return f"tasks/runs/{self.run_id}/{self.kind}/e{self.epoch}"


def lease() -> timedelta:
    return timedelta(seconds=settings.LEASE_SECONDS)


def lock(run_id: uuid.UUID, *, skip_locked: bool = False) -> tuple[Run, Task | None]:
    """Lock the run's task, then the run.

    Args:
        skip_locked: Do not wait for rows that somebody else has locked: they are not there then.

    Raises:
        Run.DoesNotExist, Task.DoesNotExist: if there is no such row.
    """
    tasks = Task.objects.select_for_update(of=("self",), skip_locked=skip_locked)
    task = next(iter(tasks.filter(runs=run_id).order_by()), None)
    locked = Run.objects.select_for_update(of=("self",), skip_locked=skip_locked)
    run = locked.select_related("workspace").get(pk=run_id)
    if task is None and run.task_id is not None:
        raise Task.DoesNotExist(f"the task of run {run_id} is locked by somebody else")
    if task is not None:
        task.workspace = run.workspace
    run.task = task
    return run, task


def active_base(workspace: models.Model) -> Any:
    """The workspace's active model version, by the relation that the registry declares, or None."""
    pointer = getattr(workspace, "active", None)
    return pointer.version if pointer else None


def leave_to_newer(run: Run) -> None:
    """This code is too old for a queued run: send another hint, which a newer worker may get."""
    log.warning("run.too_new", run_id=str(run.pk), run=run.protocol, worker=protocol.PROTOCOL)
    if not Outbox.objects.filter(run_id=run.pk, sent_at__isnull=True).exists():
        enqueue(run, delay=TOO_NEW_DELAY)


@transaction.atomic
def claim(
    run_id: uuid.UUID, *, owner: str, machine: str = "", pid: int | None = None
) -> Claim | None:
    """Take a queued run, or None: done, held by another, or not its turn. Then drop the message.

    Args:
        owner: Name of the worker, for people; it fences nothing.
        machine: Where ``pid`` is the worker's process, so that its death is seen there before
            the lease ends; empty: nobody looks.
    """
    try:
        run, task = lock(run_id)
    except Run.DoesNotExist:
        return None
    if run.status != RunStatus.QUEUED:
        return None
    if run.protocol > protocol.PROTOCOL:
        leave_to_newer(run)
        return None
    if task is not None:
        if task.cancel_requested_at is not None or task.suspend_requested_at is not None:
            return None
        if task.state in WAITING:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                    [f"queue {task.workspace_id}"],
                )
            if not is_next(task):
                return None
        elif (task.state, task.iteration) != (run.kind, run.iteration):
            return None
    if limit_of(run.queue) is not None:
        lock_pool(run.queue)
        if not has_place(run):
            return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('tasks_run_epoch')")
        epoch: int = cursor.fetchone()[0]
    taken = Run.objects.filter(pk=run_id, status=RunStatus.QUEUED, available_at__lte=Now()).update(
        status=RunStatus.RUNNING,
        epoch=epoch,
        lease_owner=owner,
        lease_machine=machine,
        lease_pid=pid,
        lease_expires_at=Now() + lease(),
        heartbeat_at=Now(),
        started_at=Now(),
    )
    if taken != 1:
        return None
    if task is not None and task.state in WAITING:
        again = task.state == states.SUSPENDED
        based = workflows.needs_base(task.workflow, task.mode)
        if not again and based and task.base_version_id is None:
            # Not when it was made: a task before it in the queue may have made a newer version.
            Task.objects.filter(pk=task.pk).update(base_version=active_base(task.workspace))
        reason = f"{run.kind} {'goes on' if again else 'began'}"
        move(task, run.kind, expected=seen(task), actor=owner, reason=reason)
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
        reuses=run.reuses_id,
    )


@transaction.atomic
def beat(held: Claim, progress: Sequence[dict[str, Any]] = ()) -> Asked:
    """Renew the lease and carry what progress there was since the last time, oldest first.

    Returns:
        What somebody asked for meanwhile.

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
    if task is None:
        return Asked()
    return Asked(task.cancel_requested_at is not None, task.suspend_requested_at is not None)


def held_run(held: Claim) -> tuple[Run, Task | None]:
    """The locked rows of a claim.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, task = lock(held.run_id)
    if (run.status, run.epoch) != (RunStatus.RUNNING, held.epoch):
        raise Fenced(f"run {held.run_id} is {run.status} in epoch {run.epoch}, not {held.epoch}")
    return run, task
