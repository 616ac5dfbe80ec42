"""Pools: queues with a limit on how many of their runs go at once over all workspaces.

What counts is live leases, so that nothing leaks. Who waits stands by ``rank_at``, a time: its
order among two never changes while they wait, and none is overtaken for ever.
"""

from typing import Any

from django.conf import settings
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce, Now

from controlcenter.platform.common import locks
from controlcenter.platform.runs import kinds
from controlcenter.platform.runs.models import Run, RunStatus
from controlcenter.platform.runs.outbox import enqueue

LOOKED_AT = 200
"""Runs before one in its pool that are looked at; with more than that ready it waits anyway."""

HINTED = 3
"""So many of those that wait are told of a free place."""


def limit_of(pool: str) -> int | None:
    """How many runs of a queue may go at once; None: no limit."""
    return settings.POOL_LIMITS.get(pool)


def holding(pool: str) -> QuerySet[Run]:
    """The runs of a pool that hold a place."""
    return Run.objects.filter(queue=pool, status=RunStatus.RUNNING, lease_expires_at__gt=Now())


def lock_pool(pool: str) -> None:
    """One claim of a limited pool at a time, until the transaction ends."""
    locks.acquire(locks.POOL, pool)


def has_place(run: Run) -> bool:
    """Whether a run may go: its pool has no limit, or a place is free and nobody before it wants
    that. Under a limit it locks the pool until the transaction ends."""
    limit = limit_of(run.queue)
    if limit is None:
        return True
    lock_pool(run.queue)
    free = limit - holding(run.queue).count()
    return free > 0 and len(ready_before(run, free)) < free


def waiting_in(pool: str) -> QuerySet[Run]:
    """The runs that wait for a pool, first first."""
    rank: Any = Coalesce(F("rank_at"), F("created_at"))
    queued = Run.objects.filter(queue=pool, status=RunStatus.QUEUED, available_at__lte=Now())
    return queued.alias(rank=rank).order_by("rank", "pk")


def ready_before(run: Run, limit: int) -> list[Run]:
    """Up to ``wanted`` runs of the pool that could go now and stand before this one."""
    ready: list[Run] = []
    for other in waiting_in(run.queue)[:LOOKED_AT]:
        if other.pk == run.pk or len(ready) >= limit:
            break
        if kinds.get(other.kind).owner.is_ready(other):
            ready.append(other)
    return ready


def wake_pool(pool: str) -> None:
    """A place of a limited pool may be free: send hints to those who may want it."""
    if limit_of(pool) is None:
        return
    for run in waiting_in(pool)[:HINTED]:
        enqueue(run)
