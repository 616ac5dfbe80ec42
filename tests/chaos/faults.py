"""Wraps the functions of the protocol, in a worker or relay of a chaos test, with what goes wrong.

Nothing of this is in the system itself: the entry points ``worker`` and ``relay`` install it.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from django.db import OperationalError, connection

from tests.chaos.markers import Markers

IN_STAGE_SHARE = 0.3
"""A stage that is as far is in the middle of its work."""

markers = Markers.of_environment()


def reach(task: object, stage: str, point: str) -> None:
    """Do what a marker of this point says."""
    action = markers.take(task, stage, point)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "kill-worker":
        os.killpg(os.getpgrp(), signal.SIGKILL)
    elif action == "terminate":
        terminate_backend()
    elif action == "lose-answer":
        connection.close()
        raise OperationalError("the connection was lost in COMMIT")


def terminate_backend() -> None:
    """Have the server end the connection of the transaction that is open here."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    other = connection.get_new_connection(connection.get_connection_params())
    try:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
        other.commit()
    finally:
        other.close()


def install_in_worker() -> None:
    """The points of a run: from its claim to its commit."""
    from controlcenter.modelling.tasks import outcomes
    from controlcenter.platform.runs import claims, commits
    from workers.runtime.execution import Execution

    _after(claims, "claim", "after-claim", lambda held, *_, **__: held)
    _after(Execution, "put", "after-upload", lambda _, execution, *__: execution.claim)
    _before(Execution, "commit", "before-commit")
    _inside(outcomes)
    _committed(commits)
    _in_stage(Execution)


def _after(place: Any, name: str, point: str, claim_of: Any) -> None:
    original = getattr(place, name)

    @wraps(original)
    def wrapped(*args: Any, **named: Any) -> Any:
        answer = original(*args, **named)
        held = claim_of(answer, *args, **named)
        if held is not None:
            reach(held.owner_id, held.kind, point)
        return answer

    setattr(place, name, wrapped)


def _before(place: Any, name: str, point: str) -> None:
    original = getattr(place, name)

    @wraps(original)
    def wrapped(execution: Any, *args: Any) -> Any:
        reach(execution.claim.owner_id, execution.claim.kind, point)
        return original(execution, *args)

    setattr(place, name, wrapped)


def _in_stage(execution_class: Any) -> None:
    original = execution_class.progress

    @wraps(original)
    def progress(execution: Any, share: float, message: str, **data: Any) -> None:
        original(execution, share, message, **data)
        if share >= IN_STAGE_SHARE:
            reach(execution.claim.owner_id, execution.claim.kind, "in-stage")

    execution_class.progress = progress


def _inside(outcomes: Any) -> None:
    """Everything of the commit is written, and COMMIT not yet said."""
    original = outcomes.advance

    @wraps(original)
    def advance(task: Any, stage: str, *, actor: str) -> None:
        original(task, stage, actor=actor)
        reach(task.pk, stage, "inside-commit")

    outcomes.advance = advance


def _committed(commits: Any) -> None:
    original = commits.committing

    @contextmanager
    def committing(held: Any) -> Iterator[Any]:
        with original(held) as commit:
            yield commit
        reach(held.owner_id, held.kind, "after-commit")

    commits.committing = committing


def install_in_relay() -> None:
    """Messages that are sent several times; a relay that is killed before it marks what it sent."""
    from controlcenter.platform.runs import outbox
    from controlcenter.platform.runs.models import Run

    original = outbox.app.send_task

    def send_task(job: str, **named: Any) -> Any:
        for _ in range(int(markers.told("times") or 1)):
            answer = original(job, **named)
        run = Run.objects.filter(pk=named["task_id"]).first()
        if run is not None:
            reach(run.owner_id, run.kind, "after-publish")
        return answer

    outbox.app.send_task = send_task
