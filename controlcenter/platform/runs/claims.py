"""Claims: who holds a run now, until when, and how that is checked.

Delivery is at least once and a run may be done twice; its effect is committed once, because each
claim takes a new epoch and every write checks it. Lock order everywhere: the owner, then the run.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Model
from django.db.models.functions import Now

from controlcenter.platform.runs import kinds, pools, protocol
from controlcenter.platform.runs.models import Outbox, Run, RunStatus
from controlcenter.platform.runs.outbox import enqueue
from controlcenter.platform.runs.owners import StopRequest

log = structlog.get_logger(__name__)
TOO_NEW_DELAY = timedelta(seconds=2)
"""After so long the hint about a run that a worker was too old for is sent again."""


class Fenced(Exception):
    """The run is no longer this worker's: its lease ended or somebody else holds it."""


class CancelRequested(Exception):
    """Somebody asked to cancel; cancel wins over completion."""


class SuspendRequested(Exception):
    """Somebody asked to suspend: the worker keeps what it has and gives the run back."""


class Locked(Exception):
    """The rows of a run are locked by somebody else, or its owner is gone."""


@dataclass(frozen=True)
class Claim:
    """A run that this worker holds, until its lease ends.

    Args:
        epoch: Taken anew at each claim; fences all writes.
        owner_id: Whom the run is for; None: nobody.
        reuses: The finished run whose artifacts stand for those of this one.
    """

    run_id: uuid.UUID
    epoch: int
    kind: str
    subject: str
    attempt: int
    iteration: int
    workspace_id: uuid.UUID
    owner_id: uuid.UUID | None
    payload: dict[str, Any]
    request_id: str
    reuses: uuid.UUID | None = None

    @property
    def prefix(self) -> str:
        """Where this claim's objects go; no other claim writes there."""
        folder = kinds.get(self.kind).owner.folder(self.owner_id, self.run_id, self.iteration)
        return f"{folder}/{self.kind}/e{self.epoch}"


def lease() -> timedelta:
    """How long a claim holds without a heartbeat."""
    return timedelta(seconds=settings.LEASE_SECONDS)


def lock(run_id: uuid.UUID, *, skip_locked: bool = False) -> tuple[Run, Model | None]:
    """Lock whom the run is for, then the run.

    Returns:
        The run and its owner's row, which is None where it has no owner.

    Raises:
        Run.DoesNotExist: if there is no such run.
        Locked: if its owner is gone; with ``skip_locked``, if somebody else has one of the rows.
    """
    runs = Run.objects.filter(pk=run_id)
    kind, owner_id = runs.values_list("kind", "owner_id").get()
    row = None
    if owner_id is not None:
        row = kinds.get(kind).owner.lock(owner_id, skip_locked=skip_locked)
        if row is None:
            raise Locked(f"the owner of run {run_id} is locked by somebody else, or gone")
    locked = runs.select_for_update(of=("self",), skip_locked=skip_locked)
    run = locked.select_related("workspace").first()
    if run is None:
        raise Locked(f"run {run_id} is locked by somebody else")
    return run, row


def leave_to_newer(run: Run) -> None:
    """This code is too old for a queued run: send another hint, which a newer worker may get."""
    log.warning("run.too_new", run_id=str(run.pk), run=run.protocol, worker=protocol.PROTOCOL)
    if not Outbox.objects.filter(run_id=run.pk, sent_at__isnull=True).exists():
        enqueue(run, delay=TOO_NEW_DELAY)


@transaction.atomic
def claim(
    run_id: uuid.UUID, *, worker: str, machine: str = "", pid: int | None = None
) -> Claim | None:
    """Take a queued run, or None: done, held by another, or not its turn. Then drop the message.

    Args:
        worker: Its name, for people; it fences nothing.
        machine: Where ``pid`` is the worker's process, so that its death is seen there before
            the lease ends; empty: nobody looks.
    """
    try:
        run, row = lock(run_id)
    except (Run.DoesNotExist, Locked):
        return None
    if run.status != RunStatus.QUEUED:
        return None
    if run.protocol > protocol.PROTOCOL:
        leave_to_newer(run)
        return None
    owner = kinds.get(run.kind).owner
    if owner.stop_requested(row) is not None or not owner.may_begin(row, run):
        return None
    if not pools.has_place(run):
        return None
    epoch = next_epoch()
    claimed = Run.objects.filter(
        pk=run_id, status=RunStatus.QUEUED, available_at__lte=Now()
    ).update(
        status=RunStatus.RUNNING,
        epoch=epoch,
        lease_owner=worker,
        lease_machine=machine,
        lease_pid=pid,
        lease_expires_at=Now() + lease(),
        heartbeat_at=Now(),
        started_at=Now(),
    )
    if claimed != 1:
        return None
    owner.began(row, run, actor=worker)
    return Claim(
        run_id=run.pk,
        epoch=epoch,
        kind=run.kind,
        subject=run.subject,
        attempt=run.attempt,
        iteration=run.iteration,
        workspace_id=run.workspace_id,
        owner_id=run.owner_id,
        payload=run.payload,
        request_id=run.request_id,
        reuses=run.reuses_id,
    )


def next_epoch() -> int:
    """A number larger than that of every claim before."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('tasks_run_epoch')")
        epoch: int = cursor.fetchone()[0]
    return epoch


@transaction.atomic
def beat(claim: Claim, progress: Sequence[dict[str, Any]] = ()) -> StopRequest | None:
    """Renew the lease and carry what progress there was since the last time, oldest first.

    Returns:
        What somebody asked for meanwhile.

    Raises:
        Fenced: if the lease is not this claim's any more.
    """
    owner = kinds.get(claim.kind).owner
    row = owner.lock(claim.owner_id) if claim.owner_id else None
    change: dict[str, Any] = {"lease_expires_at": Now() + lease(), "heartbeat_at": Now()}
    if progress:
        change["progress"] = progress[-1]
    renewed = Run.objects.filter(
        pk=claim.run_id,
        epoch=claim.epoch,
        status=RunStatus.RUNNING,
        lease_expires_at__gt=Now(),
    ).update(**change)
    if renewed != 1:
        raise Fenced(f"run {claim.run_id} epoch {claim.epoch}: the lease is not ours any more")
    if progress:
        owner.reported(row, claim.kind, progress)
    return owner.stop_requested(row)


def held_run(claim: Claim) -> tuple[Run, Model | None]:
    """The locked rows of a claim: the run, and whom it is for.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    try:
        run, row = lock(claim.run_id)
    except Locked as error:
        raise Fenced(str(error)) from error
    if (run.status, run.epoch) != (RunStatus.RUNNING, claim.epoch):
        raise Fenced(f"run {claim.run_id} is {run.status} in epoch {run.epoch}, not {claim.epoch}")
    return run, row
