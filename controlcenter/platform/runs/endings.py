"""How runs end other than well: failed, lost, released, suspended, cancelled.

Well is ``commits.committing``.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Model
from django.db.models.functions import Now

from controlcenter.platform.runs import kinds
from controlcenter.platform.runs.claims import Claim, held_run
from controlcenter.platform.runs.models import Run, RunStatus
from controlcenter.platform.runs.outbox import enqueue
from controlcenter.platform.runs.owners import Ending, RunOutcome, StopRequest
from controlcenter.platform.runs.pools import wake_pool

log = structlog.get_logger(__name__)
RETRY_DELAY_LIMIT = timedelta(seconds=60)
REAPER = "reaper"

STOPPED = {
    StopRequest.CANCEL: (RunStatus.CANCELLED, RunOutcome.CANCELLED),
    StopRequest.SUSPEND: (RunStatus.RELEASED, RunOutcome.SUSPENDED),
}
"""What becomes of a run, and how that is told to its owner, where a stop was requested."""


def close(run: Run, status: str, **change: Any) -> None:
    """End a locked run."""
    Run.objects.filter(pk=run.pk).update(
        status=status, finished_at=Now(), lease_expires_at=None, **change
    )
    wake_pool(run.queue)


def settle(
    run: Run, row: Model | None, *, actor: str, reason: str, otherwise: Callable[[], object]
) -> None:
    """End a locked run that is not done: as was requested, else as it would have ended.

    Args:
        row: The locked row of its owner.
        otherwise: Ends it where nobody requested a stop.
    """
    owner = kinds.get(run.kind).owner
    stop = owner.stop_requested(row)
    if stop is None:
        otherwise()
        return
    status, outcome = STOPPED[stop]
    close(run, status, error=reason)
    owner.ended(row, run, Ending(outcome, actor))


@transaction.atomic
def fail(claim: Claim, *, sentence: str, traceback: str = "") -> None:
    """The run failed by its own fault (data or code): its owner hears the sentence.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, row = held_run(claim)
    close_failed(run, row, sentence=sentence, traceback=traceback, actor=run.lease_owner)


def close_failed(
    run: Run, row: Model | None, *, sentence: str, traceback: str = "", actor: str
) -> None:
    """End a locked run that failed."""
    close(run, RunStatus.FAILED, error=sentence, traceback=traceback)
    kinds.get(run.kind).owner.ended(row, run, Ending(RunOutcome.FAILED, actor, sentence))


@transaction.atomic
def release(claim: Claim, *, reason: str) -> None:
    """The worker stopped before the run was done, because the run or the worker itself is to stop.

    Where it was the worker, another one goes on at once, and nothing counts as lost.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, row = held_run(claim)

    def hand_on() -> None:
        close(run, RunStatus.RELEASED, error=reason)
        queue_again(run, row, reason=reason)

    settle(run, row, actor=run.lease_owner, reason=reason, otherwise=hand_on)


@transaction.atomic
def retry_later(claim: Claim, *, reason: str) -> None:
    """A part of the system is away: another attempt goes on later, and this one counts as lost.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, row = held_run(claim)
    lose(run, row, reason=reason)


def lose(run: Run, row: Model | None, *, reason: str) -> None:
    """End a locked run that was lost: the next attempt is queued, or it failed with the last."""
    settle(
        run, row, actor=REAPER, reason=reason, otherwise=lambda: close_lost(run, row, reason=reason)
    )


def close_lost(run: Run, row: Model | None, *, reason: str) -> None:
    """End a locked run that was lost; queue the next attempt while there may be one."""
    kind = kinds.get(run.kind)
    progressed = kind.progressed is not None and kind.progressed(run)
    lost = 0 if progressed else run.losses + 1
    if lost >= settings.RUN_ATTEMPTS:
        sentence = (
            f"{run.kind.capitalize()} was lost {lost} times, the last time because "
            f"{reason} Look at the worker's log and memory, then {kind.retry_hint}."
        )
        close_failed(run, row, sentence=sentence, actor=REAPER)
        return
    close(run, RunStatus.LOST, error=reason)
    delay = min(timedelta(seconds=2 ** max(lost - 1, 0) - 1), RETRY_DELAY_LIMIT)
    queue_again(run, row, reason=reason, lost_attempts=lost, delay=delay)
    log.warning("run.lost", run_id=str(run.pk), kind=run.kind, attempt=run.attempt, reason=reason)


def queue_again(
    run: Run,
    row: Model | None,
    *,
    reason: str,
    lost_attempts: int = 0,
    delay: timedelta = timedelta(0),
) -> Run:
    """The next attempt at a locked run that ended, from its last checkpoint.

    Args:
        lost_attempts: How many before it were lost in a row.
        delay: How long no worker takes it.
    """
    following = Run.objects.create(
        workspace_id=run.workspace_id,
        owner_id=run.owner_id,
        kind=run.kind,
        subject=run.subject,
        payload=run.payload,
        queue=run.queue,
        iteration=run.iteration,
        attempt=run.attempt + 1,
        losses=lost_attempts,
        checkpoint_id=run.checkpoint_id,
        request_id=run.request_id,
        reuses_id=run.reuses_id,
        protocol=run.protocol,
        rank_at=run.rank_at,
        available_at=Now() + delay,
    )
    enqueue(following, delay=delay)
    kinds.get(run.kind).owner.retried(row, following, reason=reason)
    return following
