"""Whose turn it is in a workspace: the order of its waiting tasks, and why a task waits.

One task a workspace is active at a time. Each point of priority is worth ``UPS_PRIORITY_MINUTES``
of waiting: the order of two tasks never changes while they wait, and none is overtaken for ever.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import DateTimeField as Moment
from django.db.models import Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import StageRun, Task
from controlcenter.platform.common import locks
from controlcenter.platform.runs.models import LIVE, RunStatus
from controlcenter.platform.runs.outbox import enqueue
from controlcenter.platform.runs.pools import holding, limit_of

WAITING = (states.PENDING, states.SUSPENDED)
"""States in which a task with a queued run waits for its workspace."""


def place_in_time(prefix: str = "") -> Combinable:
    """When the task would have been made to stand where it does without a priority."""
    worth = timedelta(minutes=settings.PRIORITY_MINUTES)
    return ExpressionWrapper(
        F(f"{prefix}created_at") - F(f"{prefix}priority") * worth, output_field=Moment()
    )


def waiting_before(task: Task) -> QuerySet[Task]:
    """The waiting tasks of the workspace that go before one, first first."""
    place = task.created_at - task.priority * timedelta(minutes=settings.PRIORITY_MINUTES)
    queued = StageRun.objects.filter(task=OuterRef("pk"), status=RunStatus.QUEUED)
    waiting_tasks = Task.objects.filter(workspace=task.workspace_id, state__in=WAITING).exclude(
        pk=task.pk
    )
    return (
        waiting_tasks.alias(place=place_in_time())
        .filter(Exists(queued))
        .filter(Q(place__lt=place) | Q(place=place, pk__lt=task.pk))
        .order_by("place", "pk")
    )


def active_beside(task: Task) -> QuerySet[Task]:
    """The task that holds the workspace, if it is another."""
    active = Task.objects.filter(workspace=task.workspace_id, state__in=states.ACTIVE)
    return active.exclude(pk=task.pk)


def is_next(task: Task) -> bool:
    """Whether a waiting task may go: nothing is active and it heads the workspace's queue."""
    return not active_beside(task).exists() and not waiting_before(task).exists()


def lock_queue(workspace_id: UUID) -> None:
    """One claim of a waiting task a workspace at a time, until the transaction ends."""
    locks.acquire(locks.TASK_QUEUE, workspace_id)


def wake_next(task: Task) -> None:
    """Send a hint for the head of the workspace's queue; the claim decides."""
    head = (
        StageRun.objects.filter(
            task__workspace=task.workspace_id, task__state__in=WAITING, status=RunStatus.QUEUED
        )
        .alias(place=place_in_time("task__"))
        .order_by("place", "task_id")
        .first()
    )
    if head is not None:
        enqueue(head)


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


def reason_of(run: StageRun, ahead: int) -> str:
    """Why a queued run was not taken yet, for people."""
    if ahead:
        return f"queued: {ahead} task(s) of this workspace go before it"
    if run.losses and StageRun.objects.filter(pk=run.pk, available_at__gt=Now()).exists():
        return f"lost {run.losses} time(s): tried again at {run.available_at:%H:%M:%S} UTC"
    limit = limit_of(run.queue)
    if limit is not None and holding(run.queue).count() >= limit:
        return f"queued: the pool {run.queue} is full ({limit} at once)"
    return f"queued: waits for a free worker of the queue {run.queue}"
