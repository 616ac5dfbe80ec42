"""Start and stop the loop of a workspace, and what becomes of it otherwise."""

import uuid
from collections.abc import Iterable

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.registry.queries import active_version
from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.audit.services import record
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.log.positions import BEGINNING, LogPosition
from controlcenter.platform.runs import kinds
from controlcenter.platform.runs.commits import queue_run
from controlcenter.platform.runs.endings import close
from controlcenter.platform.runs.models import LIVE, Run, RunStatus
from controlcenter.platform.runs.owners import Ending, Owner, RunOutcome
from controlcenter.serving.incremental import notifications
from controlcenter.serving.incremental.models import Loop

KIND = "incremental"
QUEUE = "incremental"


@transaction.atomic
def start(*, workspace: Workspace, account: Account, reason: str = "") -> Loop:
    """Have the workspace's profiles refreshed as events come; starting twice changes nothing.

    Raises:
        Conflict: if there is no model version yet.
    """
    loop = locked(workspace)
    if loop is None:
        raise Conflict(
            "The workspace has no profiles of a model yet: run a refresh task, then start."
        )
    if not loop.wanted:
        switch(loop, account, on=True, reason=reason)
        if not runs_of(workspace.pk).filter(status__in=LIVE).exists():
            queue(workspace)
    return Loop.objects.get(pk=workspace.pk)


@transaction.atomic
def stop(*, workspace: Workspace, account: Account, reason: str = "") -> Loop | None:
    """Have the loop end; its holder hands back within a second or two. Profiles stay as they are.

    Returns:
        None where there never was a loop.
    """
    loop = locked(workspace)
    if loop is None:
        return None
    if loop.wanted or loop.trouble:
        switch(loop, account, on=False, reason=reason)
        for run in runs_of(workspace.pk).select_for_update().filter(status=RunStatus.QUEUED):
            close(run, RunStatus.CANCELLED, error=f"Stopped by {account.username}.")
    return Loop.objects.get(pk=workspace.pk)


def switch(loop: Loop, account: Account, *, on: bool, reason: str) -> None:
    """Write the switch and the audit, and wake the holder if it is to end."""
    if not on:
        notifications.notify_holder(loop.workspace_id, notifications.URGENT)
    Loop.objects.filter(pk=loop.pk).update(
        wanted=on, changed_by=account.username, changed_at=Now(), trouble=""
    )
    record(
        account=account,
        workspace=loop.workspace,
        action="incremental.start" if on else "incremental.stop",
        target=loop.workspace,
        details={"reason": reason},
    )


def locked(workspace: Workspace) -> Loop | None:
    """The locked row; it is made where profiles of a version are there from before the loop."""
    version = active_version(workspace.pk)
    if version is not None:
        Loop.objects.get_or_create(workspace=workspace, defaults={"version": version})
    return Loop.objects.select_for_update(of=("self",)).filter(workspace=workspace).first()


def runs_of(workspace_id: uuid.UUID) -> QuerySet[Run]:
    """The runs that hold or held the workspace's loop."""
    return Run.objects.filter(kind=KIND, subject=str(workspace_id))


def queue(workspace: Workspace) -> Run:
    """A run that holds the loop once a worker claims it."""
    return queue_run(workspace=workspace, kind=KIND, subject=str(workspace.pk))


def profiles_replaced(
    *,
    workspace_id: uuid.UUID,
    version: ModelVersion,
    graph: Iterable[Artifact],
    position: LogPosition | None,
) -> None:
    """A task wrote all profiles, in the caller's transaction: a holder begins anew from them.

    Args:
        graph: The files of the graph that they are of.
        position: The position in the log up to which the new profiles know it; None: not known.
    """
    position = position or BEGINNING
    Loop.objects.get_or_create(workspace_id=workspace_id)
    loop = Loop.objects.select_for_update(of=("self",)).get(workspace_id=workspace_id)
    Artifact.objects.filter(pk=loop.checkpoint_id).delete()  # its object leaves with the sweep
    Loop.objects.filter(pk=workspace_id).update(
        version=version,
        generation=loop.generation + 1,
        graph_generation=loop.generation + 1,
        seen=position.snapshot,
        seen_at=position.at,
        replaced_seen=position.snapshot,
        stale_since=None,
        serving=False,
        backlog={},
        checkpoint_at=None,
    )
    loop.graph_files.set(graph)
    notifications.notify_holder(workspace_id, notifications.URGENT)


class LoopOwner(Owner[Loop]):
    """A loop whose run failed is off, and says why."""

    def ended(self, row: Loop | None, run: Run | None, ending: Ending) -> None:
        if ending.outcome is not RunOutcome.FAILED or run is None:
            return
        Loop.objects.filter(pk=run.workspace_id).update(
            wanted=False, serving=False, trouble=ending.sentence
        )
        structlog.get_logger(__name__).error("incremental.failed", error=ending.sentence)


def progressed(run: Run) -> bool:
    """Whether the run refreshed anything before it was lost."""
    return Loop.objects.filter(pk=run.workspace_id, epoch=run.epoch, ticks__gt=0).exists()


def register_kind() -> None:
    """Tell the engine of the run this room needs."""
    kinds.register(
        kinds.Kind(
            KIND,
            QUEUE,
            LoopOwner(),
            progressed=progressed,
            retry_hint="start the incremental refresh again",
        )
    )
