"""The workers' Celery application: one Celery task a kind of run, and the control chores.

The modules of the stages are imported when their first run comes, so that a worker that never
trains never loads torch.
"""

import importlib
import os
from typing import Any

import django
from celery.signals import worker_init, worker_process_init, worker_shutting_down
from django.db import connections

from controlcenter.celery import app
from workers.runtime import shutdown  # before the pool is forked, whose processes share its memory

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlcenter.settings")
django.setup()
connections.settings["default"] |= {"CONN_MAX_AGE": 300, "CONN_HEALTH_CHECKS": True}

STAGES = {
    "optimizing": "workers.stages.optimizing",
    "building": "workers.stages.building",
    "training": "workers.stages.training",
    "embedding": "workers.stages.embedding",
    "evaluating": "workers.stages.evaluating",
    "validation": "workers.stages.validation",
    "synthesis": "workers.stages.synthesis",
    "explaining": "workers.stages.explaining",
    "incremental": "workers.loops.incremental",
}
"""Kind of run → the module whose ``work`` does it."""


def register_celery_task(kind: str) -> None:
    """Register the Celery task of a kind: it claims the run and lets ``work`` do it."""

    def deliver(run_id: str) -> str:
        from workers.runtime.runner import execute

        return execute(
            run_id, lambda execution: importlib.import_module(STAGES[kind]).work(execution)
        )

    deliver.__doc__ = f"Look at a run of the kind {kind}."
    app.task(name=f"workers.{kind}")(deliver)


for _kind in STAGES:
    register_celery_task(_kind)


@app.task(name="workers.reap")
def reap() -> dict[str, int]:
    """Release lost leases, force overdue cancels, remind of queued runs."""
    from controlcenter.platform.runs.reaper import reap as work

    return work()


@app.task(name="workers.fire")
def fire() -> dict[str, int]:
    """Make the tasks of the schedules that are due."""
    from controlcenter.platform.schedules.firing import fire_due as work

    return work()


@app.task(name="workers.read_log")
def read_log() -> dict[str, int]:
    """Have the consumers of the event log read on."""
    from controlcenter.platform.log.consumers import read_all

    return read_all()


@app.task(name="workers.sweep")
def sweep() -> dict[str, int]:
    """Remove objects that no row knows."""
    from controlcenter.platform.artifacts.services import sweep as work

    return work()


@worker_init.connect
def check_device(sender: Any = None, **_: Any) -> None:
    """A worker told to use a GPU that is not there refuses to start."""
    from django.conf import settings

    if settings.DEVICE == "gpu":
        from workers.runtime.device import choose

        choose(settings.DEVICE)


@worker_process_init.connect
def release_runs_of_the_dead(**_: Any) -> None:
    """A process of the pool that starts may stand in for one that died."""
    from workers.runtime import processes

    processes.release_dead()


@worker_shutting_down.connect
def request_shutdown(**_: Any) -> None:
    """Whatever runs keeps what it has and gives its run back."""
    shutdown.request()
