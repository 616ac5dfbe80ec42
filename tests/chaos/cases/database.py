"""The database: connections cut inside commit, restarted; a worker whose clock is an hour off."""

import time
from datetime import timedelta
from typing import Any

from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.common import clock
from controlcenter.platform.runs.models import Run
from tests.chaos import invariants
from tests.chaos.system import LEASE_SECONDS, System, until
from tests.chaos.world import (
    attempts,
    check_scripted,
    running_step,
    scripted_task,
    start,
    wait_for,
)

STAGES = (states.BUILDING, states.TRAINING, states.EMBEDDING)
HOUR = 3600
STEPS = 50
"""10 s: a stage still runs when it is looked at, also by tests that are held up."""


def case(system: System) -> dict[str, Any]:
    system.worker("ahead", queues="refresh-gpu", CHAOS_CLOCK_SECONDS=str(HOUR))
    cut_in_commit(system)
    cut_again_and_again(system)
    restarted(system)
    clock_off()
    system.stop("ahead")
    system.worker("behind", queues="refresh-gpu", CHAOS_CLOCK_SECONDS=str(-HOUR))
    clock_off()
    system.stop("behind")
    return {}


def finish(*tasks: Task) -> None:
    wait_for(list(tasks))
    check_scripted(list(tasks))
    found = invariants.check(tasks)
    assert not found, found


def cut_in_commit(system: System) -> None:
    """Before COMMIT nothing has happened, and it is done again; after it, it is not.

    The connection of the first task is ended by the server before COMMIT is said; that of the
    second is lost after the server had committed and before the worker heard of it.
    """
    before, after = (scripted_task(building={"steps": 1}) for _ in range(2))
    for stage in STAGES:
        system.markers.put(before.pk, stage, "inside-commit", "terminate")
        system.markers.put(after.pk, stage, "after-commit", "lose-answer")
    start(before, after)
    finish(before, after)
    assert not system.markers.untouched()
    for task in (before, after):
        assert [attempts(task, stage) for stage in STAGES] == [["done"]] * 3


def cut_again_and_again(system: System) -> None:
    """All connections are reset, five times a second apart."""
    tasks = [scripted_task(building={"steps": STEPS, "seconds": 0.2}) for _ in range(2)]
    start(*tasks)
    until(lambda: all(running_step(task) for task in tasks), "the stages run")
    for _ in range(5):
        system.proxies["database"].cut()
        time.sleep(0.5)
    finish(*tasks)


def restarted(system: System) -> None:
    """kill -9 of the server in the middle of stages."""
    tasks = [scripted_task(building={"steps": STEPS, "seconds": 0.2}) for _ in range(2)]
    start(*tasks)
    until(lambda: all(running_step(task) for task in tasks), "the stages run")
    system.restart_server("database")
    finish(*tasks)


def clock_off() -> None:
    """Leases and times are the database's, so the worker's clock says nothing."""
    begin = clock.now()
    task = scripted_task(device="gpu", building={"steps": STEPS, "seconds": 0.2})
    start(task)
    until(lambda: running_step(task), "the stage runs")
    lease = Run.objects.get(owner_id=task.pk, status="running").lease_expires_at
    left = lease - clock.now()
    assert timedelta(0) < left <= timedelta(seconds=LEASE_SECONDS), left
    finish(task)
    assert attempts(task) == ["done"]
    for run in Run.objects.filter(owner_id=task.pk):
        assert begin <= run.started_at <= run.heartbeat_at <= run.finished_at <= clock.now()
    rows = task.transitions.all()
    assert all(begin <= row.at <= clock.now() for row in rows)
