"""How runs end other than well: given up, lost, handed back, suspended, cancelled.

Well is ``runs.committing``.
"""

from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from controlcenter.modelling.tasks import kinds, states
from controlcenter.modelling.tasks.claims import Claim, held_run
from controlcenter.modelling.tasks.machine import move, seen
from controlcenter.modelling.tasks.models import Run, RunStatus, Task, TaskEvent
from controlcenter.modelling.tasks.outbox import enqueue
from controlcenter.modelling.tasks.queueing import wake_next, wake_pool

log = structlog.get_logger(__name__)
RETRY_DELAY_LIMIT = timedelta(seconds=60)


def close(run: Run, status: str, **change: Any) -> None:
    """End a locked run."""
    Run.objects.filter(pk=run.pk).update(
        status=status, finished_at=Now(), lease_expires_at=None, **change
    )
    wake_pool(run.queue)


@transaction.atomic
def give_up(held: Claim, *, sentence: str, traceback: str = "") -> None:
    """The run failed by its own fault (data or code): the task fails with a sentence.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, task = held_run(held)
    fail_locked(run, task, sentence=sentence, traceback=traceback, actor=run.lease_owner)


def fail_locked(
    run: Run, task: Task | None, *, sentence: str, traceback: str = "", actor: str
) -> None:
    close(run, RunStatus.FAILED, error=sentence, traceback=traceback)
    if task is None:
        failed = kinds.get(run.kind).on_failed
        if failed is not None:
            failed(run, sentence)
        return
    if task.cancel_requested_at is not None:
        finish_cancel(task, actor=actor)
        return
    if task.state == states.PENDING:
        move(task, states.CANCELLED, expected=seen(task), actor=actor, reason=sentence)
    else:
        move(task, states.FAILED, expected=seen(task), actor=actor, reason=sentence)
    Task.objects.filter(pk=task.pk).update(error=sentence)
    wake_next(task)


@transaction.atomic
def acknowledge_cancel(held: Claim) -> None:
    """The worker stopped because of a cancel: now the task is cancelled.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, task = held_run(held)
    close(run, RunStatus.CANCELLED, error="Cancelled while it ran.")
    if task is not None:
        finish_cancel(task, actor=run.lease_owner)


def finish_cancel(task: Task, *, actor: str) -> None:
    reason = f"cancelled by {task.cancel_requested_by}"
    move(task, states.CANCELLED, expected=seen(task), actor=actor, reason=reason)
    wake_next(task)


@transaction.atomic
def acknowledge_suspend(held: Claim) -> None:
    """The worker stopped because of a suspend and gave the run back: now the task is suspended.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, task = held_run(held)
    assert task is not None
    if task.cancel_requested_at is not None:
        close(run, RunStatus.CANCELLED, error="Cancelled while it ran.")
        finish_cancel(task, actor=run.lease_owner)
        return
    close(run, RunStatus.RELEASED, error=f"Suspended by {task.suspend_requested_by}.")
    finish_suspend(task, actor=run.lease_owner)


def finish_suspend(task: Task, *, actor: str) -> None:
    """Take the edge of a locked task that has no live run any more, and let others go."""
    reason = f"suspended by {task.suspend_requested_by}"
    move(task, states.SUSPENDED, expected=seen(task), actor=actor, reason=reason)
    Task.objects.filter(pk=task.pk).update(suspend_requested_at=None, suspend_requested_by="")
    wake_next(task)


@transaction.atomic
def hand_back(held: Claim, *, reason: str) -> None:
    """The worker was asked to stop: another goes on at once, and nothing counts as lost.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, task = held_run(held)
    if task is not None and task.cancel_requested_at is not None:
        close(run, RunStatus.CANCELLED, error=reason)
        finish_cancel(task, actor=run.lease_owner)
    elif task is not None and task.suspend_requested_at is not None:
        close(run, RunStatus.RELEASED, error=reason)
        finish_suspend(task, actor=run.lease_owner)
    else:
        close(run, RunStatus.RELEASED, error=reason)
        queue_again(run, task, reason=reason)


def queue_again(
    run: Run, task: Task | None, *, reason: str, losses: int = 0, delay: timedelta = timedelta(0)
) -> Run:
    """The next attempt at a locked run that ended, from its last checkpoint."""
    following = Run.objects.create(
        workspace_id=run.workspace_id,
        task=task,
        kind=run.kind,
        subject=run.subject,
        payload=run.payload,
        queue=run.queue,
        iteration=run.iteration,
        attempt=run.attempt + 1,
        losses=losses,
        checkpoint_id=run.checkpoint_id,
        request_id=run.request_id,
        reuses_id=run.reuses_id,
        protocol=run.protocol,
        available_at=Now() + delay,
    )
    enqueue(following, delay=delay)
    if task is not None:
        data = {"stage": run.kind, "attempt": following.attempt, "reason": reason}
        TaskEvent.objects.create(task=task, kind="retry", data=data)
    return following


@transaction.atomic
def let_go(held: Claim, *, reason: str) -> None:
    """A part of the system is away: another attempt goes on later, and this one counts as lost.

    Raises:
        Fenced: if the run is not this claim's any more.
    """
    run, task = held_run(held)
    lose_locked(run, task, reason=reason)


def lose_locked(run: Run, task: Task | None, *, reason: str) -> None:
    """Close a run that was lost and queue the next attempt, or give up after the last."""
    if task is not None and task.cancel_requested_at is not None:
        close(run, RunStatus.CANCELLED, error=reason)
        finish_cancel(task, actor="reaper")
        return
    if task is not None and task.suspend_requested_at is not None:
        close(run, RunStatus.RELEASED, error=reason)
        finish_suspend(task, actor="reaper")
        return
    kind = kinds.get(run.kind)
    progressed = kind.progressed is not None and kind.progressed(run)
    losses = 0 if progressed else run.losses + 1
    if losses >= settings.RUN_ATTEMPTS:
        sentence = (
            f"{run.kind.capitalize()} was lost {losses} times, the last time because "
            f"{reason} Look at the worker's log and memory, then {kind.again}."
        )
        fail_locked(run, task, sentence=sentence, actor="reaper")
        return
    close(run, RunStatus.LOST, error=reason)
    delay = min(timedelta(seconds=2 ** max(losses - 1, 0) - 1), RETRY_DELAY_LIMIT)
    queue_again(run, task, reason=reason, losses=losses, delay=delay)
    log.warning("run.lost", run_id=str(run.pk), kind=run.kind, attempt=run.attempt, reason=reason)
