"""Runs from queue to commit: the effect of a stage happens here, once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import models, transaction

from controlcenter.modelling.tasks import kinds, looping, states, workflows
from controlcenter.modelling.tasks.claims import CancelRequested, Claim, held_run
from controlcenter.modelling.tasks.endings import close, finish_suspend
from controlcenter.modelling.tasks.machine import move, seen
from controlcenter.modelling.tasks.models import Run, RunStatus, Task
from controlcenter.modelling.tasks.outbox import enqueue
from controlcenter.modelling.tasks.queueing import wake_next
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.services import record
from controlcenter.platform.artifacts.store import Stored

CHECKPOINT = "checkpoint"


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


def queue_run(
    *,
    workspace: models.Model,
    kind: str,
    task: Task | None = None,
    subject: str = "",
    payload: dict[str, Any] | None = None,
    request_id: str = "",
    after: Run | None = None,
) -> Run:
    """A queued run and the message for it, in the caller's transaction.

    Args:
        after: An attempt at the same work that was handed back: this one goes on from there.
    """
    device = task.parameters.get("device", "auto") if task else "auto"
    earlier = taken_over(task, kind) if task else None
    run = Run.objects.create(
        workspace_id=workspace.pk,
        task=task,
        iteration=task.iteration if task else 0,
        kind=kind,
        subject=subject,
        payload=payload or {},
        queue=kinds.queue_for(kind, device),
        request_id=request_id or (task.request_id if task else ""),
        attempt=after.attempt + 1 if after else 1,
        losses=after.losses if after else 0,
        checkpoint_id=after.checkpoint_id if after else None,
        reuses=earlier,
    )
    enqueue(run)
    return run


REUSABLE = (states.OPTIMIZING, states.BUILDING, states.TRAINING)
"""Stages whose whole effect is their artifacts and metrics: a retry takes them over."""


def taken_over(task: Task, kind: str) -> Run | None:
    """The finished run of a failed task whose artifacts a retry of it uses for a stage."""
    if task.retry_of_id is None or task.iteration or kind not in REUSABLE:
        return None
    return finished(task.retry_of_id, 0, kind)


def finished(task_id: Any, iteration: int, kind: str) -> Run | None:
    """The run whose artifacts a finished stage has: its own, or that of a task before."""
    done = Run.objects.filter(
        task=task_id, iteration=iteration, kind=kind, status=RunStatus.DONE
    ).select_related("reuses")
    run = done.first()
    return run.reuses if run is not None and run.reuses is not None else run


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


def reuse(held: Claim) -> None:
    """End a run at once with what a task before it left: nothing is done anew.

    Raises:
        Fenced, CancelRequested: as ``committing``.
    """
    earlier = Run.objects.select_related("task").get(pk=held.reuses)
    with committing(held) as commit:
        assert commit.task is not None
        assert earlier.task is not None
        kept = Artifact.objects.filter(run_id=earlier.pk, epoch=earlier.epoch)
        names = sorted(kept.exclude(name=CHECKPOINT).values_list("name", flat=True))
        about = {"task": str(earlier.task_id), "run": str(earlier.pk), "artifacts": names}
        commit.metrics = {**earlier.metrics, "reused": about}
        told = {**commit.task.metrics}
        for name, value in earlier.task.metrics.items():
            told.setdefault(name, value)
        Task.objects.filter(pk=commit.task.pk).update(metrics=told)


def advance(task: Task, stage: str, *, actor: str) -> None:
    """Move a task on after a stage, and queue what comes next."""
    target = workflows.next_state(task.workflow, task.mode, stage)
    moved = step(task, target, actor=actor, reason=f"{stage} done")
    if target == states.LOOPING:
        target, reason = looping.decide(moved)
        moved = step(moved, target, actor=actor, reason=reason)
    if target in states.FINAL:
        wake_next(moved)
    elif moved.suspend_requested_at is not None:
        finish_suspend(moved, actor=actor)
    else:
        queue_run(workspace=moved.workspace, kind=target, task=moved)


def step(task: Task, target: str, *, actor: str, reason: str) -> Task:
    """Take an edge; the task as it is after it."""
    moved = move(task, target, expected=seen(task), actor=actor, reason=reason)
    moved.workspace = task.workspace
    return moved


def outputs(task: Task, kind: str) -> list[Artifact]:
    """Artifacts of the stage's committed run in the task's iteration.

    Raises:
        LookupError: if the stage was not done.
    """
    done = finished(task.pk, task.iteration, kind)
    if done is None:
        raise LookupError(f"task {task.pk} has no finished {kind}")
    return list(Artifact.objects.filter(run_id=done.pk, epoch=done.epoch).exclude(name=CHECKPOINT))
