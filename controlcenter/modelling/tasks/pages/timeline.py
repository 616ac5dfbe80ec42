"""The timeline of a task's present iteration: its stages with their attempts, and how far it is."""

from collections.abc import Iterable
from dataclasses import dataclass

from controlcenter.modelling.tasks import states, workflows
from controlcenter.modelling.tasks.models import StageRun, Task
from controlcenter.platform.common.formatting import duration
from controlcenter.platform.runs.models import RunStatus


@dataclass(frozen=True)
class Stage:
    """One stage of the plain path and its attempts."""

    name: str
    status: str
    runs: list[StageRun]


def path_of(task: Task) -> tuple[str, ...]:
    """The states that the task goes through; empty where its workflow has no such mode."""
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


def attempt_row(run: StageRun) -> list[object]:
    """One attempt as the timeline shows it."""
    return [run, duration(run.started_at, run.finished_at)]
