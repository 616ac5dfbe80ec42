"""The workers' Celery application with faults and scripted stages: ``-A tests.chaos.worker``."""

import importlib
import os

from tests.chaos import clock

clock.shift(float(os.environ.get("CHAOS_CLOCK_SECONDS", "0")))

from workers import app as stages  # noqa: E402  # it sets Django up

app = stages.app

from controlcenter.modelling.tasks import states  # noqa: E402
from controlcenter.modelling.tasks.models import Task  # noqa: E402
from controlcenter.platform.runs import protocol  # noqa: E402
from tests.chaos import faults, frozen, scripted  # noqa: E402
from workers.runtime import runner  # noqa: E402
from workers.runtime.execution import Execution  # noqa: E402

if "CHAOS_VISIBILITY_SECONDS" in os.environ:
    seconds = int(os.environ["CHAOS_VISIBILITY_SECONDS"])
    app.conf.broker_transport_options |= {
        "visibility_timeout": seconds,
        # Kombu looks for messages past it 10 s after it connects, then each 100 s.
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }
protocol.PROTOCOL += int(os.environ.get("CHAOS_NEWER", "0"))
faults.install_in_worker()
frozen.install()


def scripted_or_real(execution: Execution) -> None:
    """Do what the task's name says, or what workers do."""
    claim = execution.claim
    task = Task.objects.filter(pk=claim.owner_id).first()
    script = scripted.script_of(task, claim.kind) if task else None
    if script is None:
        importlib.import_module(stages.STAGES[claim.kind]).work(execution)
    else:
        scripted.work(execution, script)


class Work:
    """Stands where the modules of the stages stand."""

    work = staticmethod(scripted_or_real)


execute = runner.execute
runner.execute = lambda run_id, _: execute(run_id, Work.work)


if os.environ.get("CHAOS_LOAD"):
    # Before the pool is forked: a process that follows a killed one is not slow with its first run.
    for stage in states.STAGES:
        importlib.import_module(stages.STAGES[stage])
