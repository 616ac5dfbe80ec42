"""Whether what a reader is about to see is fresh, and asking the loop's holder for what is not.

A profile is fresh if its score knows every event that was taken before the read, those of its
neighbours' neighbours too. Only the holder of the loop knows whose score an event reaches, so a
reader trusts a row without asking only if nothing in the log is unknown to the holder and nothing
is stale. Else it asks and waits a moment.
"""

import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from controlcenter.platform.log.edges import first_edge_after
from controlcenter.platform.log.positions import EMPTY_SNAPSHOT
from controlcenter.platform.runs.models import Run, RunStatus
from controlcenter.serving.incremental import notifications
from controlcenter.serving.incremental.models import Loop, RefreshRequest
from controlcenter.serving.incremental.services import KIND

POLL_SECONDS = 0.01
MAX_REQUESTED = 1000


@dataclass(frozen=True)
class Freshness:
    """What can be said of a workspace's profiles without asking the holder of their loop.

    Args:
        since: Since when any of them may be stale; None: none is by what others did.
        has_holder: Whether there is somebody to ask.
    """

    since: datetime | None
    has_holder: bool


FRESH = Freshness(None, has_holder=False)


def freshness_of(workspace_id: uuid.UUID) -> Freshness:
    """How fresh the profiles are at the least.

    A loop that is off leaves rows that it knew to be stale, and nobody knows whom later events
    reach. Where none ever wrote to these profiles, only users' own events tell.
    """
    loop = Loop.objects.filter(pk=workspace_id).first()
    if loop is None or not (loop.wanted or loop.has_served):
        return FRESH
    since = earliest(loop.stale_since, first_edge_after(workspace_id, loop.seen))
    has_holder = (
        loop.wanted
        and loop.serving
        and Run.objects.filter(
            kind=KIND,
            subject=str(workspace_id),
            epoch=loop.epoch,
            status=RunStatus.RUNNING,
            lease_expires_at__gt=Now(),
        ).exists()
    )
    return Freshness(since, has_holder)


def since_replaced(workspace_id: uuid.UUID) -> datetime | None:
    """When the first event came that the task which replaced the profiles did not know."""
    snapshot = Loop.objects.filter(pk=workspace_id).values_list("replaced_seen", flat=True).first()
    return first_edge_after(workspace_id, EMPTY_SNAPSHOT if snapshot is None else snapshot)


def request_refresh(workspace_id: uuid.UUID, user_ids: Collection[str], *, seconds: float) -> bool:
    """Have the holder refresh users, and wait for it.

    Returns:
        Whether it did: then their rows know every event from before the request.
    """
    with transaction.atomic():
        request = RefreshRequest.objects.create(
            workspace_id=workspace_id, user_ids=list(user_ids)[:MAX_REQUESTED]
        )
        notifications.notify_holder(workspace_id, notifications.URGENT)
    deadline = time.monotonic() + seconds
    while RefreshRequest.objects.filter(pk=request.pk).exists():
        if time.monotonic() >= deadline:
            # It may be answered in this very moment: then nothing is deleted.
            return RefreshRequest.objects.filter(pk=request.pk).delete()[0] == 0
        time.sleep(POLL_SECONDS)
    return True


def wait_seconds() -> float:
    """How long a reader waits for fresh rows at the most."""
    return settings.STALE_READ_WAIT_MS / 1000


def earliest(*moments: datetime | None) -> datetime | None:
    """The first of those that are."""
    return min((moment for moment in moments if moment is not None), default=None)
