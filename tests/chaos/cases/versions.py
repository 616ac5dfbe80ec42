"""Old workers beside a newer schema refuse newer runs and leave them for others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.runs import protocol
from controlcenter.platform.runs.models import Run
from tests.chaos import invariants
from tests.chaos.system import Process, System, until
from tests.chaos.world import check_scripted, ids, scripted_task, start, wait_for

TABLES = ("tasks_task", "tasks_run", "tasks_outbox", "tasks_transition", "tasks_taskevent")
BUILDING = {"steps": 2, "seconds": 0.1}


def case(system: System) -> dict[str, Any]:
    with newer_schema():
        old = system.worker("old", queues="refresh-gpu")
        older = [scripted_task(device="gpu", building=BUILDING) for _ in range(2)]
        newer = [scripted_task(device="gpu", building=BUILDING) for _ in range(3)]
        with speaking_newer():
            start(*newer)
        start(*older)
        wait_for(older)
        until(lambda: all(refused(system, task) for task in newer), "the old worker refuses")
        assert {run.status for run in Run.objects.filter(owner_id__in=ids(newer))} == {"queued"}
        new = system.worker("new", queues="refresh-gpu", CHAOS_NEWER="1")
        wait_for(newer)
        assert owners(older).isdisjoint(owners(newer))
        assert owners(newer) <= pids(new), (owners(newer), pids(new))
        check_scripted([*older, *newer])
        found = invariants.check([*older, *newer])
        assert not found, found
        system.stop(old.name, new.name)
    return {"refused": sum(refused(system, task) for task in newer)}


@contextmanager
def newer_schema() -> Iterator[None]:
    """Tables with a column that the code does not know, as a migration for newer code adds it."""
    change("ADD COLUMN newer integer NOT NULL DEFAULT 0")
    yield
    change("DROP COLUMN newer")


def change(what: str) -> None:
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"ALTER TABLE {table} {what}")


@contextmanager
def speaking_newer() -> Iterator[None]:
    """Runs that are queued inside are of the next protocol."""
    protocol.PROTOCOL += 1
    yield
    protocol.PROTOCOL -= 1


def refused(system: System, task: Task) -> int:
    """How often the old worker left a task's first run to others."""
    run = Run.objects.filter(owner_id=task.pk).earliest("created_at")
    lines = system.log_of("old").splitlines()
    return sum("run.too_new" in line and str(run.pk) in line for line in lines)


def owners(tasks: list[Task]) -> set[int]:
    """Pids of the processes that did the tasks' runs."""
    names = Run.objects.filter(owner_id__in=ids(tasks)).values_list("lease_owner", flat=True)
    return {int(name.rpartition(":")[2]) for name in names}


def pids(process: Process) -> set[int]:
    return {one.pid for one in process.tree()}
