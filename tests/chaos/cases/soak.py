"""A soak: many short tasks, a kill a second, a broker restart a minute."""

import json
import random
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import OperationalError, connections

from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.common import clock
from controlcenter.platform.runs.models import Run, RunStatus
from tests.chaos import invariants
from tests.chaos.footprint import Footprint, footprint
from tests.chaos.system import System, until
from tests.chaos.world import named_dataset, new_workspace, owner

WORKERS = ("soak-1", "soak-2", "soak-3", "soak-4")
CLIENTS = ("client-1", "client-2")
KILLS = {"stage": 80, "worker": 8, "relay": 7, "client": 5}
"""What is killed how often: the process of a stage, a whole worker, the relay, a client."""

LONG = {"tasks": 2000, "workspaces": 120, "outstanding": 14, "lease": 30}
SHORT = {"tasks": 60, "workspaces": 40, "outstanding": 14, "lease": 4}
RESTART_SECONDS = 60.0
RESTART_TASKS = 25
"""The short form lasts no minute: it restarts the broker after so many tasks instead."""

RECOVERY_SLACK_SECONDS = 15.0
HANGS_SECONDS = 300.0


@dataclass
class Log:
    """What was done to the system."""

    kills: list[tuple[str, int, datetime]] = field(default_factory=list)
    restarts: int = 0


def case(system: System) -> dict[str, Any]:
    size = SHORT if system.short else LONG
    told = {"UPS_LEASE_SECONDS": str(size["lease"])}
    system.stop()
    relay_as_in_production = {} if system.short else {"CHAOS_UNCLAIMED_SECONDS": "30"}
    system.relay(**told, **relay_as_in_production)
    for name in WORKERS:
        system.worker(name, **told)
    until(lambda: all(ready(system, name) for name in WORKERS), "all workers are ready")
    before = at_rest(system, "warm", size)
    begin_clients(system, tasks=size["tasks"] // len(CLIENTS), name="soak", size=size)
    begin = time.monotonic()
    log = torment(system, size)
    seconds = time.monotonic() - begin
    system.stop(*CLIENTS)
    until(lambda: all(alive(system, name) for name in WORKERS), "all workers are there")
    return report(system, size, log, before, at_rest(system, "cool", size), seconds)


def at_rest(system: System, name: str, size: dict[str, Any]) -> Footprint:
    """What the system occupies after some tasks, with nothing more to do."""
    begin_clients(system, tasks=3, name=name, size=size)
    until(lambda: finished(tasks_of(name)) == 3 * len(CLIENTS), f"{name}: tasks are done")
    system.stop(*CLIENTS)
    time.sleep(2)
    return footprint(system)


def begin_clients(system: System, *, tasks: int, name: str, size: dict[str, Any]) -> None:
    for number, client in enumerate(CLIENTS):
        datasets = [named_dataset(new_workspace()) for _ in range(size["workspaces"])]
        order = {
            "name": f"{name}-{number}",
            "account": owner().username,
            "tasks": tasks,
            "outstanding": size["outstanding"],
            "datasets": [(one.workspace.slug, str(one.pk)) for one in datasets],
        }
        path = system.folder / f"{name}-{number}.json"
        path.write_text(json.dumps(order))
        argv = (sys.executable, "-m", "tests.chaos.client")
        system.run(client, argv, CHAOS_CLIENT=str(path))


def tasks_of(name: str) -> Any:
    return Task.objects.filter(idempotency_key__startswith=f"{name}-")


def finished(tasks: Any) -> int:
    return int(tasks.filter(state__in=states.FINAL).count())


def torment(system: System, size: dict[str, Any]) -> Log:
    """Kill and restart until every task is over.

    Raises:
        AssertionError: if nothing ends for so long that something must hang.
    """
    log, dice, mine = Log(), random.Random(4), tasks_of("soak")
    seen, since = 0, time.monotonic()
    due = restarted = since
    while True:
        due += dice.uniform(0.5, 1.5)
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            done = finished(mine)
            if done == size["tasks"]:
                return log
            kill(system, dice, log)
        except OperationalError:
            connections.close_all()
            continue
        if done != seen:
            seen, since = done, time.monotonic()
        assert time.monotonic() - since < HANGS_SECONDS, f"hangs with {done} tasks done"
        short = system.short and done >= RESTART_TASKS * (log.restarts + 1)
        if short or time.monotonic() >= restarted + RESTART_SECONDS:
            system.restart_server("broker")
            log.restarts += 1
            restarted = time.monotonic()


def kill(system: System, dice: random.Random, log: Log) -> None:
    """kill -9 of something, drawn by chance."""
    (what,) = dice.choices(list(KILLS), weights=list(KILLS.values()))
    name = dice.choice(WORKERS)
    if what == "stage":
        pids = [one.pid for one in system.processes[name].tree()[1:]]
    elif what == "worker":
        pids = [one.pid for one in system.processes[name].tree()]
    else:
        name = "relay" if what == "relay" else dice.choice(CLIENTS)
        pids = [one.pid for one in system.processes[name].tree()]
    if not pids:
        return  # it starts again just now
    moment = clock.now()
    log.kills += [(what, pid, moment) for pid in pids]
    if what == "stage":
        for one in system.processes[name].tree()[1:]:
            one.kill()
    else:
        system.processes[name].kill()


def alive(system: System, name: str) -> bool:
    """Whether a worker has its pool."""
    return len(system.processes[name].tree()) == 2


def ready(system: System, name: str) -> bool:
    """Whether a worker that was just started has its pool and its connections."""
    return alive(system, name) and " ready." in system.log_of(name)


def recoveries(log: Log) -> list[float]:
    """Seconds from the kill of a run's process to the start of the next attempt."""
    found = []
    killed: dict[int, datetime] = {}
    for what, pid, moment in log.kills:
        if what in ("stage", "worker"):
            killed.setdefault(pid, moment)  # a process that is not collected yet is killed again
    for pid, moment in killed.items():
        lost = Run.objects.filter(
            lease_owner__endswith=f":{pid}", started_at__lte=moment, finished_at__gt=moment,
            status=RunStatus.LOST,
        )  # fmt: skip
        for run in lost:
            again = Run.objects.get(
                owner_id=run.owner_id,
                iteration=run.iteration,
                kind=run.kind,
                attempt=run.attempt + 1,
            )
            found.append((again.started_at - moment).total_seconds())
    return sorted(found)


def report(
    system: System,
    size: dict[str, Any],
    log: Log,
    before: Footprint,
    after: Footprint,
    seconds: float,
) -> dict[str, Any]:
    tasks = list(tasks_of("soak"))
    assert len(tasks) == size["tasks"], f"{len(tasks)} tasks for {size['tasks']} keys"
    found = invariants.check(tasks, objects=True)
    stuck = invariants.stuck_tasks()
    leaked = invariants.leaked_leases()
    took = recoveries(log)
    gave = {
        "tasks": len(tasks),
        "kills": len({moment for _, _, moment in log.kills}),
        "restarts": log.restarts,
        "lost": len(found.lost),
        "doubled": len(found.doubled),
        "stuck": len(stuck) + len(found.stuck),
        "recoveries": len(took),
        "seconds_to_recover": {"p50": percentile(took, 0.5), "p99": percentile(took, 0.99)},
        "lease": size["lease"],
        "soaked_seconds": round(seconds, 1),
        "before": vars(before),
        "after": vars(after),
    }
    assert not found, (gave, found)
    assert not stuck, (gave, stuck)
    assert not leaked, (gave, leaked)
    assert not after.grown(before), (gave, after.grown(before))
    assert took, (gave, "no kill has hit a stage")
    if not system.short:
        assert percentile(took, 0.99) <= size["lease"] + RECOVERY_SLACK_SECONDS, gave
    return gave


def percentile(values: list[float], share: float) -> float | None:
    """The nearest rank, of sorted values."""
    if not values:
        return None
    return round(values[min(len(values) - 1, int(share * len(values)))], 2)
