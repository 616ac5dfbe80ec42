"""The runs of a task's stages: what is queued for one, and what a finished one left."""

from datetime import timedelta
from uuid import UUID

from django.conf import settings

from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.runs import kinds
from controlcenter.platform.runs.commits import Commit, artifacts_of, queue_run
from controlcenter.platform.runs.models import Run, RunFields, RunStatus

QUEUE = "refresh"

REUSABLE = (states.OPTIMIZING, states.BUILDING, states.TRAINING)
"""Stages whose whole effect is their artifacts and metrics: a retry takes them over."""


def queue_stage(task: Task, stage: str, *, after: RunFields | None = None) -> Run:
    """A queued run of a locked task's stage, in the caller's transaction.

    Args:
        after: An attempt at it that was released: this one goes on from there.
    """
    worth = timedelta(minutes=settings.PRIORITY_MINUTES)
    return queue_run(
        workspace=task.workspace,
        kind=stage,
        owner_id=task.pk,
        iteration=task.iteration,
        queue=queue_of(stage, task.parameters.get("device", "auto")),
        rank_at=task.created_at - task.priority * worth,
        request_id=task.request_id,
        after=after,
        reuses=earlier_run(task, stage),
    )


def queue_of(stage: str, device: str) -> str:
    """The queue of a stage; those of a task that asks for a GPU go to the GPU workers."""
    queue = kinds.get(stage).queue
    return f"{queue}-gpu" if queue == QUEUE and device == "gpu" else queue


def earlier_run(task: Task, stage: str) -> Run | None:
    """The finished run of a failed task whose artifacts a retry of it uses for a stage."""
    if task.retry_of_id is None or task.iteration or stage not in REUSABLE:
        return None
    return finished(task.retry_of_id, 0, stage)


def finished(task_id: UUID, iteration: int, stage: str) -> Run | None:
    """The run whose artifacts a finished stage has: its own, or that of a task before."""
    done = Run.objects.filter(
        owner_id=task_id, iteration=iteration, kind=stage, status=RunStatus.DONE
    ).select_related("reuses")
    run = done.first()
    return run.reuses if run is not None and run.reuses is not None else run


def outputs(task: Task, stage: str) -> list[Artifact]:
    """Artifacts of the stage's committed run in the task's iteration.

    Raises:
        LookupError: if the stage was not done.
    """
    done = finished(task.pk, task.iteration, stage)
    if done is None:
        raise LookupError(f"task {task.pk} has no finished {stage}")
    return artifacts_of(done)


def task_of(commit: Commit) -> Task:
    """The locked task of a stage's commit.

    Raises:
        TypeError: if the run is not of a task.
    """
    if not isinstance(commit.owner, Task):
        raise TypeError(f"run {commit.run.pk} is for {commit.owner!r}, expected a task")
    return commit.owner
