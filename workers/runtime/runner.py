"""A message that says "look at this run": claim it, do it, and end it in one of the known ways."""

import os
import time
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path

import structlog
from django.db import close_old_connections
from django.db import connections as django_connections

from controlcenter.platform.artifacts.store import ObjectDamaged, ObjectMissing, StoreUnavailable
from controlcenter.platform.runs import claims, commits, endings
from controlcenter.platform.runs.claims import CancelRequested, Claim, Fenced, SuspendRequested
from workers.runtime import folders, processes
from workers.runtime.errors import PermanentError, RetryableError, WorkerStopping
from workers.runtime.execution import Execution
from workers.runtime.retries import CONNECTION_ERRORS, retry_while_disconnected

log = structlog.get_logger(__name__)
CANCELLED, SUSPENDED = "Cancelled while it ran.", "Suspended while it ran."


def take(run_id: uuid.UUID) -> Claim | None:
    """Claim a run for this process."""
    name, machine = processes.name(), processes.machine()
    return claims.claim(run_id, worker=name, machine=machine, pid=os.getpid())


def execute(run_id: str, work: Callable[[Execution], None]) -> str:
    """Claim a run and do it; returns what became of it, for the log."""
    close_old_connections()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(run_id=run_id)
    outcome = ""
    try:
        claim = retry_while_disconnected(lambda: take(uuid.UUID(run_id)))
        if claim is None:
            log.info("run.dropped", why="done, held by another worker, or not its turn")
            outcome = "dropped"
            return outcome
        structlog.contextvars.bind_contextvars(
            request_id=claim.request_id, task_id=str(claim.owner_id or ""), kind=claim.kind
        )
        log.info("run.claimed", epoch=claim.epoch, attempt=claim.attempt)
        begin = time.monotonic()
        outcome = attempt(claim, work if claim.reuses is None else take_over)
        log.info("run.ended", outcome=outcome, seconds=round(time.monotonic() - begin, 3))
        return outcome
    finally:
        structlog.contextvars.clear_contextvars()
        if outcome not in ("done", "dropped"):
            django_connections.close_all()  # one may have been interrupted in a query
        close_old_connections()


def attempt(claim: Claim, work: Callable[[Execution], None]) -> str:
    """Work on a claim; every way it may end is an end of the run."""
    try:
        with (
            folders.for_run() as folder,
            Execution(claim, Path(folder)) as execution,
        ):
            work(execution)
        return "done"
    except CancelRequested:
        return ending("cancelled", lambda: endings.release(claim, reason=CANCELLED))
    except SuspendRequested:
        return ending("suspended", lambda: endings.release(claim, reason=SUSPENDED))
    except WorkerStopping as error:
        reason = str(error)
        return ending("handed back", lambda: endings.release(claim, reason=reason))
    except Fenced as error:
        log.warning("run.fenced", error=str(error))
        return "fenced"
    except (StoreUnavailable, *CONNECTION_ERRORS) as error:
        reason = f"a part of the system was away: {str(error).strip()}."
        return ending("let go", lambda: endings.retry_later(claim, reason=reason))
    except RetryableError as error:
        reason = str(error)
        return ending("let go", lambda: endings.retry_later(claim, reason=reason))
    except (PermanentError, ObjectMissing, ObjectDamaged) as error:
        sentence = str(error)
        return ending("failed", lambda: endings.fail(claim, sentence=sentence))
    except Exception as error:
        log.exception("run.failed")
        sentence = f"{claim.kind.capitalize()} failed: {type(error).__name__}: {error}"
        trace = traceback.format_exc()
        return ending(
            "failed", lambda: endings.fail(claim, sentence=sentence[:2000], traceback=trace)
        )


def take_over(execution: Execution) -> None:
    """A stage that a failed task had done: its artifacts stand for those of this run."""
    retry_while_disconnected(lambda: commits.reuse(execution.claim))


def ending(outcome: str, end: Callable[[], None]) -> str:
    django_connections.close_all()  # one may have been interrupted in a query
    try:
        retry_while_disconnected(end)
    except Fenced as error:
        log.warning("run.fenced", error=str(error))
        return "fenced"
    return outcome
