"""The object store: errors, slowness, a multipart cut in the middle."""

import os
import signal
import time
from datetime import timedelta
from typing import Any

from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.artifacts.services import sweep
from controlcenter.platform.runs.models import Run
from tests.chaos import invariants
from tests.chaos.system import System, until
from tests.chaos.world import (
    attempts,
    check_scripted,
    holder,
    running_step,
    scripted_task,
    start,
    wait_for,
)

MIB = 2**20
STEPS = 50
"""10 s: a stage still runs when it is looked at, also by tests that are held up."""

TWO_PARTS = 12 * 1024
"""KiB of a checkpoint that is sent in two parts."""


def case(system: System) -> dict[str, Any]:
    errors(system)
    slow(system)
    cuts, begun = cut_in_the_middle(system)
    restarted(system)
    return {"cuts": cuts, "resumed_at_step": begun}


def finish(*tasks: Task) -> None:
    wait_for(list(tasks))
    check_scripted(list(tasks))
    sweep(older_than=timedelta(0))  # what no row knows goes, and nothing else
    found = invariants.check(tasks)
    assert not found, found


def errors(system: System) -> None:
    """Every request is answered with 503 for some seconds, and every connection is reset."""
    tasks = [scripted_task(building={"steps": STEPS, "seconds": 0.2}) for _ in range(2)]
    start(*tasks)
    until(lambda: all(running_step(task) for task in tasks), "the stages run")
    system.proxies["store"].failing = True
    system.proxies["store"].cut()
    time.sleep(3)
    system.proxies["store"].calm()
    finish(*tasks)
    assert [attempts(task) for task in tasks] == [["done"]] * 2


def slow(system: System) -> None:
    """0.4 s for each 64 KiB: longer than the lease for each checkpoint."""
    system.proxies["store"].seconds_a_chunk = 0.4
    task = scripted_task(building={"steps": 2, "kib": 1024 + 512})
    start(task)
    finish(task)
    assert attempts(task) == ["done"]
    system.proxies["store"].calm()


def cut_in_the_middle(system: System) -> tuple[int, int]:
    """An upload in parts is cut twice, then with its worker; what follows reads a whole one.

    The checkpoint that is read then is cut in the middle, too.
    """
    proxy = system.proxies["store"]
    before = proxy.cuts
    task = scripted_task(building={"steps": 20, "seconds": 0.2, "kib": TWO_PARTS})
    start(task)
    until(lambda: running_step(task) >= 2, "a checkpoint is there")
    first = Run.objects.get(owner_id=task.pk)
    pid = holder(task)
    for cut in (1, 2, 3):
        if cut == 3:
            proxy.cut_answering = 5 * MIB
            proxy.on_cut = lambda: os.kill(pid, signal.SIGKILL)
        proxy.cut_sending = 9 * MIB
        until(lambda cut=cut: proxy.cuts >= before + cut, f"upload {cut} is cut")
    proxy.on_cut = lambda: None
    until(lambda: proxy.cuts >= before + 4, "the download is cut")
    finish(task)
    assert attempts(task) == ["lost", "done"]
    lost, done = Run.objects.filter(owner_id=task.pk, kind=first.kind).order_by("attempt")
    assert lost.checkpoint_id is not None
    assert done.metrics["begun"] >= 2
    return proxy.cuts - before, done.metrics["begun"]


def restarted(system: System) -> None:
    """kill -9 of the server in the middle of a stage."""
    task = scripted_task(building={"steps": STEPS, "seconds": 0.2})
    start(task)
    until(lambda: running_step(task), "the stage runs")
    system.restart_server("store")
    finish(task)
