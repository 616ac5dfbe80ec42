"""The training losses of a task by epoch, while it trains and once it has."""

import math
from collections.abc import Sequence

from controlcenter.modelling.tasks.models import Task, TaskEvent
from ml.contracts.reports.version import EpochLoss

MAX_EVENTS = 5000


def losses_by_epoch(task: Task, done: Sequence[EpochLoss] | None) -> dict[int, float]:
    """Loss by epoch, where it is a number. Of an epoch that a retry repeated the last counts.

    Args:
        done: Of the training once it is over; None: those that it reported so far.
    """
    epochs = reported(task) if done is None else done
    by_epoch = {epoch.epoch: epoch.loss for epoch in epochs if math.isfinite(epoch.loss)}
    return dict(sorted(by_epoch.items()))


def reported(task: Task) -> list[EpochLoss]:
    """The progress that carried a loss, oldest first."""
    rows = (
        TaskEvent.objects.filter(task=task, kind="progress", data__has_keys=["epoch", "loss"])
        .order_by("-id")
        .values_list("data", flat=True)[:MAX_EVENTS]
    )
    return [EpochLoss.from_dict(row) for row in reversed(rows)]
