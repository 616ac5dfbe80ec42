"""The workers' Celery application with stages that do nothing: ``celery -A benchmarks.noop``.

Everything around a stage is the real thing: message, claim, heartbeat, commit and what comes next.
"""

import time

from controlcenter.celery import app
from controlcenter.modelling.tasks import states
from workers.app import STAGES
from workers.runtime.execution import Execution

__all__ = ["app", "work"]

STAGES.update(dict.fromkeys(states.STAGES, __name__))


def work(execution: Execution) -> None:
    """Commit at once; the metrics keep when the stage began, in seconds since 1970."""
    began = time.time()
    execution.commit(lambda commit: commit.metrics.update(began=began))
