"""The reaper: every non-final thing has a deadline, and here it is kept.

Periodic and event-driven, correct with either alone: it needs no broker, any process may run it,
and an advisory lock keeps it to one at a time.
"""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from controlcenter.platform.common import locks
from controlcenter.platform.common.hooks import Hook
from controlcenter.platform.runs import kinds
from controlcenter.platform.runs.claims import Locked, lock
from controlcenter.platform.runs.endings import REAPER, STOPPED, close, lose
from controlcenter.platform.runs.models import LIVE, Chore, Outbox, Run, RunStatus
from controlcenter.platform.runs.outbox import enqueue, forget_sent
from controlcenter.platform.runs.owners import Ending, Owner

log = structlog.get_logger(__name__)
chores: Hook[[]] = Hook()
"""Periodic duties of rooms above, which the relay does whenever it has reaped."""
CHORE = "reaper"
UNCLAIMED_AFTER = timedelta(seconds=30)
FORCE_AFTER = timedelta(seconds=60)


def reap() -> dict[str, int]:
    """Release expired leases, force overdue cancels and suspends, remind of queued runs.

    Returns:
        Counts of ``lost``, ``forced`` and ``reminded``; empty if another reaper is at work.
    """
    with locks.try_for_session(locks.REAPER) as is_alone:
        if not is_alone:
            return {}
        counts = {"lost": release_expired(), "forced": force(), "reminded": remind()}
        forget_sent()
        Chore.objects.update_or_create(name=CHORE, defaults={"last_at": Now()})
    if any(counts.values()):
        log.info("reaper.reaped", **counts)
    return counts


def release_expired() -> int:
    """Runs whose lease ended: their worker is lost, the next attempt is queued."""
    expired = Run.objects.filter(status=RunStatus.RUNNING, lease_expires_at__lt=Now())
    released = 0
    for run_id in list(expired.values_list("pk", flat=True)):
        with transaction.atomic():
            try:
                # Rows that are locked belong to a worker that commits right now: it is alive.
                run, row = lock(run_id, skip_locked=True)
            except (Run.DoesNotExist, Locked):
                continue
            if not expired.filter(pk=run_id).exists():
                continue
            lose(run, row, reason=f"the lease of {run.lease_owner} ended without a word.")
            released += 1
    return released


def release_dead(machine: str, exists: Callable[[int], bool]) -> int:
    """Runs whose process is no more: the next attempt is queued before the lease ends.

    Args:
        machine: The one that the caller runs on.
        exists: Whether a process of this id is there.
    """
    held = Run.objects.filter(
        status=RunStatus.RUNNING, lease_machine=machine, lease_pid__isnull=False
    )
    released = 0
    for run_id, pid in list(held.values_list("pk", "lease_pid")):
        if exists(pid):
            continue
        with transaction.atomic():
            try:
                run, row = lock(run_id)
            except (Run.DoesNotExist, Locked):
                continue
            if held.filter(pk=run_id, lease_pid=pid).exists():
                lose(run, row, reason=f"the process {run.lease_owner} died.")
                released += 1
    return released


def force() -> int:
    """Cancels and suspends that nobody acknowledged in time: the worker is fenced off."""
    return sum(
        force_one(owner, owner_id)
        for owner in kinds.owners()
        for owner_id in list(owner.overdue(FORCE_AFTER))
    )


@transaction.atomic
def force_one(owner: Owner[Any], owner_id: uuid.UUID) -> bool:
    """Do for one owner what was requested, if nobody did meanwhile."""
    row = owner.lock(owner_id)
    stop = owner.stop_requested(row)
    if stop is None or owner_id not in set(owner.overdue(FORCE_AFTER)):
        return False
    status, outcome = STOPPED[stop]
    run = None
    for run in Run.objects.select_for_update().filter(owner_id=owner_id, status__in=LIVE):
        close(run, status, error="Ended by force: no answer in 60 s.")
    owner.ended(row, run, Ending(outcome, REAPER))
    return True


def remind() -> int:
    """Queued runs that nobody took and no unsent message speaks of: send another hint."""
    unsent = Outbox.objects.filter(run_id=OuterRef("pk")).filter(
        Q(sent_at__isnull=True) | Q(sent_at__gt=Now() - UNCLAIMED_AFTER)
    )
    forgotten = Run.objects.filter(
        status=RunStatus.QUEUED, available_at__lt=Now() - UNCLAIMED_AFTER
    ).filter(~Exists(unsent))
    reminded = 0
    for run in forgotten:
        if kinds.get(run.kind).owner.is_ready(run):
            enqueue(run)
            reminded += 1
    return reminded
