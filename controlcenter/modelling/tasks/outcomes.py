"""What becomes of a task when a run of it ends. The task's row is locked by the caller."""

from controlcenter.modelling.tasks import iterations, states, workflows
from controlcenter.modelling.tasks.machine import move, version_of
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.queueing import wake_next
from controlcenter.modelling.tasks.stages import queue_stage


def advance(task: Task, stage: str, *, actor: str) -> None:
    """Move a task on after a stage, and queue what comes next."""
    target = workflows.next_state(task.workflow, task.mode, stage)
    moved = step(task, target, actor=actor, reason=f"{stage} done")
    if target == states.LOOPING:
        target, reason = iterations.decide(moved)
        moved = step(moved, target, actor=actor, reason=reason)
    if target in states.FINAL:
        wake_next(moved)
    elif moved.suspend_requested_at is not None:
        suspend(moved, actor=actor)
    else:
        queue_stage(moved, target)


def step(task: Task, target: str, *, actor: str, reason: str) -> Task:
    """Take an edge; the task as it is after it."""
    moved = move(task, target, expected=version_of(task), actor=actor, reason=reason)
    moved.workspace = task.workspace
    return moved


def cancel(task: Task, *, actor: str) -> None:
    """Take the edge of a task that was to be cancelled, and let others go."""
    step(task, states.CANCELLED, actor=actor, reason=f"cancelled by {task.cancel_requested_by}")
    wake_next(task)


def suspend(task: Task, *, actor: str) -> None:
    """Take the edge of a task that was to be suspended, and let others go."""
    step(task, states.SUSPENDED, actor=actor, reason=f"suspended by {task.suspend_requested_by}")
    Task.objects.filter(pk=task.pk).update(suspend_requested_at=None, suspend_requested_by="")
    wake_next(task)


def fail(task: Task, *, actor: str, sentence: str) -> None:
    """A run failed by its own fault: so does its task, unless it was to be cancelled."""
    if task.cancel_requested_at is not None:
        cancel(task, actor=actor)
        return
    target = states.CANCELLED if task.state == states.PENDING else states.FAILED
    step(task, target, actor=actor, reason=sentence)
    Task.objects.filter(pk=task.pk).update(error=sentence)
    wake_next(task)
