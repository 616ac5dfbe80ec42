"""Runs from queue to commit: the effect of a stage happens here, once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import models, transaction

from controlcenter.artifacts.models import Artifact
from controlcenter.artifacts.services import record
from controlcenter.artifacts.store import Stored
from controlcenter.tasks import kinds, states, workflows
from controlcenter.tasks.claims import CancelRequested, Claim, held_run
from controlcenter.tasks.endings import close, wake_next
from controlcenter.tasks.machine import move, seen
from controlcenter.tasks.models import Run, RunStatus, Task
from controlcenter.tasks.outbox import enqueue

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
