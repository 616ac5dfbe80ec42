"""What a task's page draws: the stages with their attempts, and the curve of the loss."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from controlcenter.modelling.tasks import states, workflows
from controlcenter.modelling.tasks.models import StageRun, Task, TaskEvent
from controlcenter.platform.common.presenting import duration
from controlcenter.platform.runs.models import RunStatus
from ml.contracts.reports.version import EpochLoss

WIDTH, HEIGHT, MARGIN = 640.0, 220.0, 46.0
MAX_EVENTS = 5000


@dataclass(frozen=True)
class Curve:
    """A polyline in a box of WIDTH by HEIGHT, with the texts of its axes."""

    points: str
    low: str
    high: str
    first_epoch: int
    last_epoch: int
    last: str


@dataclass(frozen=True)
class Stage:
    """One stage of the plain path and its attempts."""

    name: str
    status: str
    runs: list[StageRun]


def losses(task: Task, done: Sequence[EpochLoss] | None) -> dict[int, float]:
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


def curve(values_by_epoch: dict[int, float]) -> Curve | None:
    """The curve of the losses; None where there are less than two."""
    if len(values_by_epoch) < 2:
        return None
    epochs, values = list(values_by_epoch), list(values_by_epoch.values())
    low, high = min(values), max(values)
    spread, length = (high - low) or 1.0, (epochs[-1] - epochs[0]) or 1
    points = [
        (
            MARGIN + (WIDTH - MARGIN - 10) * (epoch - epochs[0]) / length,
            10 + (HEIGHT - 40) * (high - value) / spread,
        )
        for epoch, value in values_by_epoch.items()
    ]
    return Curve(
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        low=f"{low:.4f}",
        high=f"{high:.4f}",
        first_epoch=epochs[0],
        last_epoch=epochs[-1],
        last=f"{values[-1]:.4f}",
    )


def path_of(task: Task) -> tuple[str, ...]:
    return workflows.PATHS.get((workflows.Workflow(task.workflow), workflows.Mode(task.mode)), ())


def worked(task: Task) -> tuple[str, ...]:
    """The stages of the path that a worker does."""
    return tuple(stage for stage in path_of(task) if stage in states.STAGES)


def stages(task: Task, runs: Iterable[StageRun]) -> list[Stage]:
    """The stages of the present iteration in order, those that were not begun included."""
    by_kind: dict[str, list[StageRun]] = {}
    for run in runs:
        if run.iteration == task.iteration:
            by_kind.setdefault(run.kind, []).append(run)
    path = []
    for name in worked(task):
        attempts = by_kind.get(name, [])
        waiting = "waiting" if task.state not in states.FINAL else "not reached"
        path.append(Stage(name, attempts[-1].status if attempts else waiting, attempts))
    return path


def share_done(task: Task, runs: Iterable[StageRun]) -> float:
    """How much of the present iteration is done, 0 to 1; each stage counts the same."""
    path = worked(task)
    runs = [run for run in runs if run.iteration == task.iteration]
    if task.state == states.COMPLETED:
        return 1.0
    if not path:
        return 0.0
    done = {run.kind for run in runs if run.status == RunStatus.DONE}
    live = [run.progress.get("share", 0.0) for run in runs if run.status == RunStatus.RUNNING]
    share = live[0] if live and isinstance(live[0], int | float) else 0.0
    return min((len(done & set(path)) + share) / len(path), 1.0)


def attempt_row(run: StageRun) -> list[Any]:
    """One attempt as the timeline shows it."""
    return [run, duration(run.started_at, run.finished_at)]
