"""Claims: who holds a run now, until when, and how that is checked.

Delivery is at least once and a run may be done twice; its effect is committed once, because each
claim takes a new epoch and every write checks it. Lock order everywhere: Task, then Run.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Q
from django.db.models.functions import Now

from controlcenter.tasks import states, workflows
from controlcenter.tasks.machine import move, seen
from controlcenter.tasks.models import Run, RunStatus, Task, TaskEvent


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


def lease() -> timedelta:
    return timedelta(seconds=settings.LEASE_SECONDS)


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


def active_base(workspace: models.Model) -> Any:
    """The workspace's active model version, by the relation that the registry declares, or None."""
    pointer = getattr(workspace, "active", None)
    return pointer.version if pointer else None


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
        if task.base_version_id is None and workflows.needs_base(task.workflow, task.mode):
            # Not when it was made: a task before it in the queue may have made a newer version.
            Task.objects.filter(pk=task.pk).update(base_version=active_base(task.workspace))
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
