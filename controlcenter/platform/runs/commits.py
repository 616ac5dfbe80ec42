"""Runs from queue to commit: the effect of one happens here, once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import models, transaction

from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.services import record
from controlcenter.platform.artifacts.store import Stored
from controlcenter.platform.runs import kinds
from controlcenter.platform.runs.claims import CancelRequested, Claim, held_run
from controlcenter.platform.runs.endings import close
from controlcenter.platform.runs.models import Run, RunFields, RunStatus
from controlcenter.platform.runs.outbox import enqueue
from controlcenter.platform.runs.owners import Ending, RunOutcome, StopRequest

CHECKPOINT = "checkpoint"


@dataclass
class Commit:
    """What a worker adds to the transaction that ends its run.

    Args:
        owner: The locked row of whom the run is for.
        metrics: Kept with the run.
    """

    claim: Claim
    run: Run
    owner: object
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
    owner_id: UUID | None = None,
    iteration: int = 0,
    subject: str = "",
    payload: dict[str, Any] | None = None,
    queue: str | None = None,
    rank_at: datetime | None = None,
    request_id: str = "",
    after: RunFields | None = None,
    reuses: Run | None = None,
) -> Run:
    """A queued run and the message for it, in the caller's transaction.

    Args:
        owner_id: Whom it is for, under the caller's lock.
        queue: Celery queue; None: that of the kind.
        rank_at: See ``Run.rank_at``.
        after: An attempt at the same work that was released: this one goes on from there.
        reuses: A finished run, whose artifacts shall stand for those of this one.
    """
    run = Run.objects.create(
        workspace_id=workspace.pk,
        owner_id=owner_id,
        iteration=iteration,
        kind=kind,
        subject=subject,
        payload=payload or {},
        queue=queue or kinds.get(kind).queue,
        rank_at=rank_at,
        request_id=request_id,
        attempt=after.attempt + 1 if after else 1,
        losses=after.losses if after else 0,
        checkpoint_id=after.checkpoint_id if after else None,
        reuses=reuses,
    )
    enqueue(run)
    return run


@transaction.atomic
def save_checkpoint(claim: Claim, stored: Stored) -> None:
    """Point the run at a checkpoint that was stored; the next attempt goes on from it.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, _ = held_run(claim)
    Artifact.objects.filter(run_id=run.pk, epoch=claim.epoch, name=CHECKPOINT).delete()
    artifact = record(
        workspace=run.workspace, stored=stored, name=CHECKPOINT, run_id=run.pk, epoch=claim.epoch
    )
    Run.objects.filter(pk=run.pk).update(checkpoint=artifact)


@contextmanager
def committing(claim: Claim) -> Iterator[Commit]:
    """The transaction that ends a run: what happens inside is committed with it, or not at all.

    Checks epoch and requests under the locks, lets the worker add its effects, marks the run done,
    and tells its owner, who decides what comes next.

    Raises:
        Fenced: if the run is not this claim's any more.
        CancelRequested: if a cancel came first.
    """
    with transaction.atomic():
        run, row = held_run(claim)
        owner = kinds.get(run.kind).owner
        if owner.stop_requested(row) is StopRequest.CANCEL:
            raise CancelRequested(f"run {run.pk} is to be cancelled")
        commit = Commit(claim, run, row)
        yield commit
        close(run, RunStatus.DONE, metrics=commit.metrics)
        owner.ended(row, run, Ending(RunOutcome.DONE, run.lease_owner))


def reuse(claim: Claim) -> None:
    """End a run at once with what an earlier one left: nothing is done anew.

    Raises:
        Fenced, CancelRequested: as ``committing``.
        Run.DoesNotExist: if it takes nothing over.
    """
    with committing(claim) as commit:
        earlier = Run.objects.get(pk=str(commit.run.reuses_id))
        names = sorted(artifact.name for artifact in artifacts_of(earlier))
        reused = {"task": str(earlier.owner_id), "run": str(earlier.pk), "artifacts": names}
        commit.metrics = {**earlier.metrics, "reused": reused}
        kinds.get(claim.kind).owner.reused(commit.owner, earlier)


def artifacts_of(run: Run) -> list[Artifact]:
    """What a finished run left; checkpoints are not of it."""
    return list(Artifact.objects.filter(run_id=run.pk, epoch=run.epoch).exclude(name=CHECKPOINT))
