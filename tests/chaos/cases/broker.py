"""The broker: messages three times, flushed, restarted, gone, redelivering while a stage runs."""

import time
from typing import Any

import redis

from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.runs.models import LIVE, Run
from tests.chaos import invariants
from tests.chaos.system import System, until
from tests.chaos.world import (
    attempts,
    check_scripted,
    ids,
    scripted_task,
    start,
    wait_for,
)

HASTY_SECONDS = 2
GONE_SECONDS = {True: 6.0, False: 120.0}
"""By whether it is the short form."""

LONG_STEPS = 100
"""20 s: many times the visibility timeout, even on a machine that is slow."""


def case(system: System) -> dict[str, Any]:
    again = redelivered(system)
    flushed(system)
    restarted(system)
    gone(system, GONE_SECONDS[system.short])
    return {"redelivered_while_it_ran": again, "gone_seconds": GONE_SECONDS[system.short]}


def redelivered(system: System) -> int:
    """A visibility timeout far below the stage's length; other messages come three times."""
    hasty = system.worker("hasty", CHAOS_VISIBILITY_SECONDS=str(HASTY_SECONDS))
    until(lambda: " ready." in system.log_of("hasty"), "the hasty worker is ready")
    long = scripted_task(building={"steps": LONG_STEPS, "seconds": 0.2, "checkpoints": False})
    start(long)
    until(lambda: a_stage_runs([long]), "the long stage runs")
    run = Run.objects.get(owner_id=long.pk, kind="building")
    until(lambda: dropped(system, run), "the message of the long stage is delivered again")
    assert a_stage_runs([long]), "the stage was over when its message came again"
    thrice(system)
    finish([long])
    assert attempts(long) == ["done"], attempts(long)
    again = dropped(system, run)
    system.stop(hasty.name)
    return again


def some(count: int, **building: Any) -> list[Task]:
    """Tasks that are started, each in a workspace of its own."""
    made = [scripted_task(building=building, training={"steps": 1}) for _ in range(count)]
    start(*made)
    return made


def a_stage_runs(tasks: list[Task]) -> bool:
    return Run.objects.filter(owner_id__in=ids(tasks), kind="building", status="running").exists()


def over(tasks: list[Task]) -> bool:
    return not Run.objects.filter(owner_id__in=ids(tasks), status__in=LIVE).exists()


def finish(tasks: list[Task]) -> None:
    wait_for(tasks)
    check_scripted(tasks)
    found = invariants.check(tasks)
    assert not found, found


def thrice(system: System) -> None:
    """Every message three times."""
    system.markers.tell("times", "3")
    tasks = some(8, steps=2, seconds=0.1)
    finish(tasks)
    system.markers.tell("times", "1")
    runs = Run.objects.filter(owner_id__in=ids(tasks))
    assert {run.attempt for run in runs} == {1}
    assert runs.count() == 3 * len(tasks)
    assert any(dropped(system, run) for run in runs), "no message came a second time"


def flushed(system: System) -> None:
    """Everything the broker knows is gone, three times, while stages run and wait."""
    tasks = some(6, steps=8, seconds=0.2)
    with redis.Redis.from_url(system.urls["UPS_BROKER_URL"]) as client:
        for _ in range(3):
            until(lambda: a_stage_runs(tasks) or over(tasks), "a stage runs")
            client.flushall()
            time.sleep(0.5)
    finish(tasks)


def restarted(system: System) -> None:
    tasks = some(6, steps=8, seconds=0.2)
    until(lambda: a_stage_runs(tasks), "a stage runs")
    system.restart_server("broker")
    finish(tasks)


def gone(system: System, seconds: float) -> None:
    """Nobody can reach the broker; what runs goes on, what is queued waits."""
    tasks = some(6, steps=8, seconds=0.2)
    until(lambda: a_stage_runs(tasks), "a stage runs")
    system.proxies["broker"].refuse()
    tasks += some(2, steps=1)
    time.sleep(seconds)
    system.proxies["broker"].calm()
    finish(tasks)


def dropped(system: System, run: Run) -> int:
    """How many messages about a run were dropped, as the workers' logs have it."""
    lines = [line for name in system.processes for line in system.log_of(name).splitlines()]
    return sum(str(run.pk) in line and "run.dropped" in line for line in lines)
