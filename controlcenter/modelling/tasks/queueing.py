"""Whose turn it is: the order of waiting tasks, the limits, and why a task waits.

One task a workspace is active at a time. A pool is a queue with a limit on how many of its runs go
at once over all workspaces; what counts is live leases, so that nothing leaks. Each point of
priority is worth ``UPS_PRIORITY_MINUTES`` of waiting: the order of two tasks never changes while
they wait, and none is overtaken for ever.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import DateTimeField as Moment
from django.db.models import Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import LIVE, Run, RunStatus, Task
from controlcenter.modelling.tasks.outbox import enqueue

WAITING = (states.PENDING, states.SUSPENDED)
"""States in which a task with a queued run waits for its workspace."""

LOOKED_AT = 200
"""Runs before one in its pool that are looked at; with more than that ready it waits anyway."""


def place_in_time(prefix: str = "") -> Any:
    """When the task would have been made to stand where it does without a priority."""
    worth = timedelta(minutes=settings.PRIORITY_MINUTES)
    return ExpressionWrapper(
        F(f"{prefix}created_at") - F(f"{prefix}priority") * worth, output_field=Moment()
    )


def waiting_before(task: Task) -> QuerySet[Task]:
    """The waiting tasks of the workspace that go before one, first first."""
    mine = task.created_at - task.priority * timedelta(minutes=settings.PRIORITY_MINUTES)
    queued = Run.objects.filter(task=OuterRef("pk"), status=RunStatus.QUEUED)
    others = Task.objects.filter(workspace=task.workspace_id, state__in=WAITING).exclude(pk=task.pk)
    return (
        others.alias(place=place_in_time())
        .filter(Exists(queued))
        .filter(Q(place__lt=mine) | Q(place=mine, pk__lt=task.pk))
        .order_by("place", "pk")
    )


def active_beside(task: Task) -> QuerySet[Task]:
    """The task that holds the workspace, if it is another."""
    others = Task.objects.filter(workspace=task.workspace_id, state__in=states.ACTIVE)
    return others.exclude(pk=task.pk)


def is_next(task: Task) -> bool:
    """Whether a waiting task may go: nothing is active and it heads the workspace's queue."""
    return not active_beside(task).exists() and not waiting_before(task).exists()


def wake_next(task: Task) -> None:
    """Send a hint for the head of the workspace's queue; the claim decides."""
    head = (
        Run.objects.filter(
            task__workspace=task.workspace_id, task__state__in=WAITING, status=RunStatus.QUEUED
        )
        .alias(place=place_in_time("task__"))
        .order_by("place", "task_id")
        .first()
    )
    if head is not None:
        enqueue(head)


def limit_of(pool: str) -> int | None:
    """How many runs of a queue may go at once; None: no limit."""
    return settings.POOL_LIMITS.get(pool)


def holding(pool: str) -> QuerySet[Run]:
    """The runs of a pool that hold a place."""
    return Run.objects.filter(queue=pool, status=RunStatus.RUNNING, lease_expires_at__gt=Now())


def lock_pool(pool: str) -> None:
    """One claim of a limited pool at a time, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"pool {pool}"])


def has_place(run: Run) -> bool:
    """Whether a run of a limited pool may go: a place is free and nobody before it wants it.

    Call it under ``lock_pool``.
    """
    limit = limit_of(run.queue)
    if limit is None:
        return True
    free = limit - holding(run.queue).count()
    return free > 0 and len(ready_before(run, free)) < free


def ready_before(run: Run, wanted: int) -> list[Run]:
    """Up to ``wanted`` runs of the pool that could go now and stand before this one."""
    queued = (
        Run.objects.filter(queue=run.queue, status=RunStatus.QUEUED, available_at__lte=Now())
        .filter(task__isnull=False)
        .alias(place=place_in_time("task__"))
        .order_by("place", "pk")
        .select_related("task")
    )
    found: list[Run] = []
    for other in queued[:LOOKED_AT]:
        if other.pk == run.pk or len(found) >= wanted:
            break
        assert other.task is not None
        if other.task.state not in WAITING or is_next(other.task):
            found.append(other)
    return found


def wake_pool(pool: str) -> None:
    """A place of a limited pool may be free: send hints to those who may want it."""
    if limit_of(pool) is None:
        return
    queued = Run.objects.filter(
        queue=pool, status=RunStatus.QUEUED, available_at__lte=Now(), task__isnull=False
    )
    for run in queued.alias(place=place_in_time("task__")).order_by("place", "pk")[:3]:
        enqueue(run)


@dataclass(frozen=True)
class Waiting:
    """Why a task does not run now.

    Args:
        place: How many tasks of the workspace go before it.
        behind: Which.
    """

    place: int
    reason: str
    behind: list[UUID]


def waiting(task: Task) -> Waiting | None:
    """What a task waits for; None: it runs or is over."""
    if task.state in states.FINAL:
        return None
    live = next((run for run in task.runs.all() if run.status in LIVE), None)
    if live is None:
        verb = "suspended: POST to resume/" if task.state == states.SUSPENDED else None
        return Waiting(0, verb or "not started: POST to start/", [])
    if live.status == RunStatus.RUNNING:
        return None
    ahead: list[UUID] = []
    if task.state in WAITING:
        ahead = [*active_beside(task).values_list("pk", flat=True)]
        ahead += waiting_before(task).values_list("pk", flat=True)
    return Waiting(len(ahead), reason_of(live, len(ahead)), ahead)


def reason_of(run: Run, ahead: int) -> str:
    """Why a queued run was not taken yet, for people."""
    if ahead:
        return f"queued: {ahead} task(s) of this workspace go before it"
    if run.losses and Run.objects.filter(pk=run.pk, available_at__gt=Now()).exists():
        return f"lost {run.losses} time(s): tried again at {run.available_at:%H:%M:%S} UTC"
    limit = limit_of(run.queue)
    if limit is not None and holding(run.queue).count() >= limit:
        return f"queued: the pool {run.queue} is full ({limit} at once)"
    return f"queued: waits for a free worker of the queue {run.queue}"
