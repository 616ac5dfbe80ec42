"""Tasks as the engine of runs sees them: what a stage's run may do to its task, and when."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from controlcenter.modelling.tasks import outcomes, states
from controlcenter.modelling.tasks.machine import move, version_of
from controlcenter.modelling.tasks.models import Task, TaskEvent
from controlcenter.modelling.tasks.queueing import WAITING, is_next, lock_queue
from controlcenter.modelling.tasks.stages import QUEUE
from controlcenter.modelling.tasks.versions import take_active_base
from controlcenter.platform.runs import kinds
from controlcenter.platform.runs.models import Run
from controlcenter.platform.runs.owners import Ending, Owner, RunOutcome, StopRequest


class TaskOwner(Owner[Task]):
    """A task owns the runs of its stages."""

    def lock(self, owner_id: uuid.UUID, *, skip_locked: bool = False) -> Task | None:
        tasks = Task.objects.select_for_update(of=("self",), skip_locked=skip_locked)
        return tasks.select_related("workspace").filter(pk=owner_id).order_by().first()

    def folder(self, owner_id: uuid.UUID | None, run_id: uuid.UUID, iteration: int) -> str:
        return f"tasks/{owner_id}/it{iteration}"

    def may_begin(self, row: Task | None, run: Run) -> bool:
        task = required(row, run)
        if task.state not in WAITING:
            return (task.state, task.iteration) == (run.kind, run.iteration)
        lock_queue(task.workspace_id)
        return is_next(task)

    def is_ready(self, run: Run) -> bool:
        task = Task.objects.filter(runs=run.pk).first()
        return task is not None and (task.state not in WAITING or is_next(task))

    def began(self, row: Task | None, run: Run, *, actor: str) -> None:
        task = required(row, run)
        if task.state not in WAITING:
            return
        resumed = task.state == states.SUSPENDED
        if not resumed:
            take_active_base(task)
        reason = f"{run.kind} {'goes on' if resumed else 'began'}"
        move(task, run.kind, expected=version_of(task), actor=actor, reason=reason)

    def stop_requested(self, row: Task | None) -> StopRequest | None:
        if row is None:
            return None
        if row.cancel_requested_at is not None:
            return StopRequest.CANCEL
        return StopRequest.SUSPEND if row.suspend_requested_at is not None else None

    def overdue(self, after: timedelta) -> Iterable[uuid.UUID]:
        long_ago = Now() - after
        return Task.objects.filter(
            Q(cancel_requested_at__lt=long_ago) | Q(suspend_requested_at__lt=long_ago),
            state__in=states.INCOMPLETE,
        ).values_list("pk", flat=True)

    def reported(self, row: Task | None, run_kind: str, steps: Sequence[dict[str, Any]]) -> None:
        if row is not None:
            TaskEvent.objects.bulk_create(
                TaskEvent(task=row, kind="progress", data={"stage": run_kind, **step})
                for step in steps
            )

    def retried(self, row: Task | None, following: Run, *, reason: str) -> None:
        data = {"stage": following.kind, "attempt": following.attempt, "reason": reason}
        task = required(row, following)
        TaskEvent.objects.create(task=task, kind="retry", data=data)

    def reused(self, row: Task | None, earlier: Run) -> None:
        task = required(row, earlier)
        before = Task.objects.get(runs=earlier.pk)
        Task.objects.filter(pk=task.pk).update(metrics={**before.metrics, **task.metrics})

    def ended(self, row: Task | None, run: Run | None, ending: Ending) -> None:
        task = required(row, run)
        match ending.outcome:
            case RunOutcome.DONE:
                assert run is not None
                outcomes.advance(task, run.kind, actor=ending.actor)
            case RunOutcome.FAILED:
                outcomes.fail(task, actor=ending.actor, sentence=ending.sentence)
            case RunOutcome.CANCELLED:
                outcomes.cancel(task, actor=ending.actor)
            case RunOutcome.SUSPENDED:
                outcomes.suspend(task, actor=ending.actor)

    def url(self, owner_id: uuid.UUID) -> str:
        return reverse("admin:tasks_task_change", args=[owner_id])


def required(row: Task | None, run: Run | None) -> Task:
    """Raises: LookupError if the run of a stage has no task."""
    if row is None:
        raise LookupError(f"run {run and run.pk} of a stage has no task")
    return row


def register_kinds() -> None:
    """Tell the engine of the runs of tasks: a kind a stage."""
    owner = TaskOwner()
    for stage in states.STAGES:
        kinds.register(kinds.Kind(stage, QUEUE, owner))
