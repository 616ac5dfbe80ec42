"""A worker stopped with SIGSTOP past its lease, overtaken, continued: refused, and it stops."""

import json
import signal
import time
from typing import Any

from django.db import transaction

from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.runs import claims
from controlcenter.platform.runs.models import Run
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

STOPS = 5


def case(system: System) -> dict[str, Any]:
    task = scripted_task(building={"steps": 50, "seconds": 0.2, "checkpoints": False})
    start(task)
    until(lambda: running_step(task) >= 2, "the stage is in its midst")
    first = Run.objects.get(owner_id=task.pk)
    stopped = stop_holder(system, first)
    overtaken = Run.objects.filter(owner_id=task.pk, attempt=2, status="running")
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
    assert Run.objects.filter(owner_id=task.pk, kind=states.BUILDING, status="done").count() == 1
    check_scripted([task])
    found = invariants.check([task])
    assert not found, found
    return {"tried": came}


def stop_holder(system: System, run: Run) -> Process:
    """Stop the worker that holds a run, but not within a transaction.

    One that is stopped there keeps the rows locked, which the reaper passes over for ever.

    Raises:
        AssertionError: if it is found within one again and again.
    """
    for _ in range(STOPS):
        stopped = process_of(system, holder(Task.objects.get(pk=run.owner_id)))
        stopped.send(signal.SIGSTOP)
        time.sleep(1)  # the server has done by then what it was sent
        if unlocked(run):
            return stopped
        stopped.send(signal.SIGCONT)
        time.sleep(0.3)
    raise AssertionError(f"{STOPS} times stopped, and each time it had the run's rows locked")


def unlocked(run: Run) -> bool:
    """Whether the reaper could have the run."""
    with transaction.atomic():
        try:
            claims.lock(run.pk, skip_locked=True)
        except claims.Locked:
            return False
    return True


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
