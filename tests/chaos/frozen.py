"""What a worker tries that was stopped past its lease: written down, try by try."""

import json
from typing import Any

from tests.chaos.markers import Markers


def install() -> None:
    """Have a run try everything at its next step, once the tests tell it to."""
    from workers.runtime.execution import Execution

    original, markers = Execution.progress, Markers.of_environment()

    def progress(execution: Any, *args: Any, **named: Any) -> None:
        held = execution.claim
        if markers.told("try") == f"{held.owner_id} {held.attempt}" and not markers.told("tried"):
            markers.tell("tried", json.dumps(tries(held)))
        original(execution, *args, **named)

    Execution.progress = progress


def tries(held: Any) -> dict[str, str]:
    """What came of everything that writes: ``accepted``, or the error's name."""
    from controlcenter.platform.artifacts.store import Stored
    from controlcenter.platform.runs import claims, commits

    checkpoint = Stored(f"{held.prefix}/late", 1, "0" * 64)

    def commit() -> None:
        with commits.committing(held) as one:
            one.metrics = {"late": True}

    writes = {
        "heartbeat": lambda: claims.beat(held),
        "checkpoint": lambda: commits.save_checkpoint(held, checkpoint),
        "commit": commit,
    }
    came = {}
    for name, write in writes.items():
        try:
            write()
            came[name] = "accepted"
        except Exception as error:
            came[name] = type(error).__name__
    return came
