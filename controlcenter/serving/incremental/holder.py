"""The side of the worker that holds a loop: each effect is under its claim, so that a stale one
writes nothing."""

import math
import sys
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.services import record
from controlcenter.platform.artifacts.store import Stored
from controlcenter.platform.log.positions import LogPosition
from controlcenter.platform.runs.claims import Claim, held_run
from controlcenter.platform.runs.endings import close
from controlcenter.platform.runs.models import RunStatus
from controlcenter.serving.incremental.models import Loop, RefreshRequest
from controlcenter.serving.incremental.queries import present_graph

CHECKPOINT = "checkpoint"


class Superseded(Exception):
    """A task replaced the profiles: begin anew from what they are of now."""


@dataclass(frozen=True)
class HeldLoop:
    """What the worker that holds a loop begins with.

    Args:
        version_id: The model version that the profiles are of.
        graph: The files of the graph that they are of.
        position: The events up to here are in the profiles and counted.
        checkpoint: What a holder of the same generation left, if any.
    """

    version_id: uuid.UUID
    graph: list[Artifact]
    generation: int
    position: LogPosition
    checkpoint: Artifact | None


@dataclass(frozen=True)
class Instructions:
    """What the holder is to do now: go on or not, from which profiles, and for which readers."""

    enabled: bool
    generation: int
    requests: dict[int, list[str]]


@dataclass(frozen=True)
class Published:
    """What the holder tells of itself with each tick.

    Args:
        position: Every event up to here is in the profiles, but in those that are stale.
        stale_since: Since when the oldest stale row is stale; None: none is.
        events: Events that were consumed since the last time.
        edges: Edges that were touched since the last time.
        backlog: Rows stale by type, edges to do, staleness in seconds.
    """

    position: LogPosition
    stale_since: datetime | None
    events: int
    edges: int
    backlog: dict[str, Any]


@transaction.atomic
def acquire(claim: Claim) -> HeldLoop | None:
    """Begin to hold the loop, or None where it is to be off.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    held_run(claim)
    loop = Loop.objects.select_for_update(of=("self",)).get(pk=claim.workspace_id)
    if not loop.wanted or loop.version_id is None:
        return None
    Loop.objects.filter(pk=loop.pk).update(epoch=claim.epoch, serving=False, ticks=0)
    position = LogPosition(loop.seen, loop.seen_at)
    graph = present_graph(claim.workspace_id)
    return HeldLoop(loop.version_id, graph, loop.generation, position, loop.checkpoint)


def instructions(workspace_id: uuid.UUID) -> Instructions:
    """The switch, the generation, and what readers wait for, oldest first."""
    loop = Loop.objects.values("wanted", "generation").get(pk=workspace_id)
    requests = RefreshRequest.objects.filter(workspace=workspace_id).order_by("pk")[:200]
    return Instructions(
        loop["wanted"], loop["generation"], dict(requests.values_list("pk", "user_ids"))
    )


def confirm(claim: Claim, generation: int) -> None:
    """Within a tick's transaction: this holder still has it, and it is of these profiles.

    Raises:
        Fenced: if the run is not this claim's any more.
        Superseded: if a task replaced the profiles.
    """
    held_run(claim)
    loop = Loop.objects.select_for_update(of=("self",)).get(pk=claim.workspace_id)
    if loop.epoch != claim.epoch or loop.generation != generation:
        raise Superseded(f"the profiles are of generation {loop.generation}, not {generation}")


def publish(workspace_id: uuid.UUID, published: Published, *, answered: Iterable[int]) -> None:
    """Within a tick's transaction: how far the holder is; the requests it answered are gone."""
    RefreshRequest.objects.filter(pk__in=list(answered)).delete()
    Loop.objects.filter(pk=workspace_id).update(
        seen=published.position.snapshot,
        seen_at=published.position.at,
        stale_since=published.stale_since,
        events=F("events") + published.events,
        edges=F("edges") + published.edges,
        ticks=F("ticks") + 1,
        backlog=published.backlog,
        serving=True,
    )


def note_audit(workspace_id: uuid.UUID, *, rows: int, error: float) -> None:
    """What a comparison with a full pass found.

    Args:
        error: If it is infinite or no number, the largest one that JSON can say is noted.
    """
    noted = error if math.isfinite(error) else sys.float_info.max
    Loop.objects.filter(pk=workspace_id).update(audit_at=Now(), audit_rows=rows, audit_error=noted)


@transaction.atomic
def save_checkpoint(claim: Claim, generation: int, stored: Stored) -> str | None:
    """Point the loop at a checkpoint that was stored.

    Returns:
        Key of the one before it, whose object may be removed once this is committed.

    Raises:
        Fenced, Superseded: as ``confirm``.
    """
    run, _ = held_run(claim)
    confirm(claim, generation)
    before = Loop.objects.select_related("checkpoint").get(pk=claim.workspace_id).checkpoint
    artifact = record(
        workspace=run.workspace, stored=stored, name=CHECKPOINT, run_id=run.pk, epoch=claim.epoch
    )
    Loop.objects.filter(pk=claim.workspace_id).update(checkpoint=artifact, checkpoint_at=Now())
    if before is None:
        return None
    Artifact.objects.filter(pk=before.pk).delete()
    return before.key


@transaction.atomic
def drop_checkpoint(claim: Claim, generation: int) -> None:
    """Forget a checkpoint that can't be trusted; its object leaves with the sweep.

    Raises:
        Fenced, Superseded: as ``confirm``.
    """
    confirm(claim, generation)
    Artifact.objects.filter(
        pk__in=Loop.objects.filter(pk=claim.workspace_id).values("checkpoint")
    ).delete()


@transaction.atomic
def finish(claim: Claim) -> bool:
    """Hand the loop back because it is to be off.

    Returns:
        False where somebody switched it on again meanwhile: then it goes on.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, _ = held_run(claim)
    loop = Loop.objects.select_for_update(of=("self",)).get(pk=claim.workspace_id)
    if loop.wanted:
        return False
    Loop.objects.filter(pk=loop.pk).update(serving=False)
    close(run, RunStatus.DONE, metrics={"events": loop.events, "edges": loop.edges})
    return True
