"""A worker stopped with SIGSTOP past its lease, overtaken, continued: refused, and it stops."""

import json
import signal
from typing import Any

from controlcenter.artifacts.models import Artifact
from controlcenter.tasks import states
from controlcenter.tasks.models import Run
from tests.chaos import invariants
from tests.chaos.system import Process, System, until
from tests.chaos.world import (
    attempts,
    check_scripted,
    holder,
    running_step,
    scripted_task,
    start,
    wait_for,
)


def case(system: System) -> dict[str, Any]:
    task = scripted_task(building={"steps": 25, "seconds": 0.2, "checkpoints": False})
    start(task)
    until(lambda: running_step(task) >= 2, "the stage is in its midst")
    first = Run.objects.get(task=task)
    stopped = process_of(system, holder(task))
    stopped.send(signal.SIGSTOP)
    overtaken = Run.objects.filter(task=task, attempt=2, status="running")
    until(overtaken.exists, "another worker has taken over")
    system.markers.tell("try", f"{task.pk} 1")
    stopped.send(signal.SIGCONT)
    came = json.loads(until(lambda: system.markers.told("tried"), "the worker tried"))
    assert came == dict.fromkeys(("heartbeat", "checkpoint", "commit"), "Fenced"), came
    until(lambda: ended(system, first, "fenced"), "the overtaken worker stops")
    wait_for([task])
    assert attempts(task) == ["lost", "done"]
    assert Run.objects.get(pk=first.pk).metrics == {}
    assert not Artifact.objects.filter(run_id=first.pk).exists()
    assert Run.objects.filter(task=task, kind=states.BUILDING, status="done").count() == 1
    check_scripted([task])
    found = invariants.check([task])
    assert not found, found
    return {"tried": came}


def process_of(system: System, pid: int) -> Process:
    """The process of the system that this pid belongs to."""
    for one in system.processes.values():
        if pid in [each.pid for each in one.tree()]:
            return one
    raise AssertionError(f"no process has started {pid}")


def ended(system: System, run: Run, outcome: str) -> bool:
    """Whether a worker's log says that its work on a run ended so."""
    lines = [line for name in system.processes for line in system.log_of(name).splitlines()]
    return any(
        str(run.pk) in line and "run.ended" in line and f'"outcome": "{outcome}"' in line
        for line in lines
    )
