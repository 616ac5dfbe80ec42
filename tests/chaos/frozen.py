"""What a worker tries that was stopped past its lease: written down, try by try."""

import json
import time
from typing import Any

from tests.chaos.markers import Markers

GAP_SECONDS = 1.5
"""So long without a turn of the loop means that the process was stopped."""


def install() -> None:
    """Watch for the gap between two steps of a run whose task is told to be frozen."""
    from workers.runtime import Execution

    original = Execution.progress

    def progress(execution: Any, *args: Any, **named: Any) -> None:
        before = getattr(execution, "looked", time.monotonic())
        execution.looked = time.monotonic()
        frozen = Markers.of_environment().told("frozen") == str(execution.claim.task_id)
        if frozen and execution.looked - before > GAP_SECONDS:
            tell(execution)
        original(execution, *args, **named)

    Execution.progress = progress


def tell(execution: Any) -> None:
    """Try everything that writes, and say what came of it."""
    from controlcenter.artifacts.store import Stored
    from controlcenter.tasks import claims, runs

    held = execution.claim
    checkpoint = Stored(f"{held.prefix}/late", 1, "0" * 64)

    def commit() -> None:
        with runs.committing(held) as one:
            one.metrics = {"late": True}

    tries = {
        "heartbeat": lambda: claims.beat(held),
        "checkpoint": lambda: runs.save_checkpoint(held, checkpoint),
        "commit": commit,
    }
    came = {"attempt": held.attempt}
    for name, one in tries.items():
        try:
            one()
            came[name] = "accepted"
        except Exception as error:
            came[name] = type(error).__name__
    Markers.of_environment().tell("thawed", json.dumps(came))
