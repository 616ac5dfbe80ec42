"""Whether the workflow continuous goes on after an iteration, and which of them was the best."""

from dataclasses import dataclass
from itertools import pairwise

from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.runs.models import Run, RunStatus

METRIC = "links.mrr"
"""What iterations are compared by where the task does not say."""

WORSE_LIMIT = 3
REASONS = ("because", "evidence", "automatic")


@dataclass(frozen=True)
class Score:
    """What an iteration reached in the metric of its task; higher is better."""

    iteration: int
    value: float


def metric_of(task: Task) -> str:
    """Name of the metric that the task compares its iterations by."""
    return str(task.parameters.get("performance_metric") or METRIC)


def scores(task: Task) -> list[Score]:
    """Of the iterations that were evaluated, in their order; one without the metric is left out."""
    name = metric_of(task)
    done = Run.objects.filter(owner_id=task.pk, kind=states.EVALUATING, status=RunStatus.DONE)
    measured = []
    for iteration, metrics in done.order_by("iteration").values_list("iteration", "metrics"):
        value = metrics.get("metrics", {}).get(name)
        if isinstance(value, int | float):
            measured.append(Score(iteration, float(value)))
    return measured


def best(measured: list[Score]) -> Score | None:
    """The best iteration, of equal ones the first."""
    return max(measured, key=lambda score: (score.value, -score.iteration), default=None)


def decide(task: Task) -> tuple[str, str]:
    """The state after ``looping`` and why, once the present iteration is evaluated."""
    measured, name = scores(task), metric_of(task)
    top = best(measured)
    if top is None or measured[-1].iteration != task.iteration:
        reason = f"iteration {task.iteration} has no metric {name}: there is nothing to compare"
        return states.COMPLETED, reason
    kept = f"iteration {top.iteration} is kept, with {name} {top.value:.4f}"
    if len(measured) > 1:
        kept += f", a little too good as the best of {len(measured)} on the same test part"
    threshold = task.parameters.get("performance_threshold")
    if threshold is not None and top.value >= threshold:
        return states.COMPLETED, f"{name} reached {threshold}: {kept}"
    limit = task.parameters.get("max_iterations")
    if limit is not None and task.iteration + 1 >= limit:
        return states.COMPLETED, f"{limit} iterations are done: {kept}"
    if got_worse(measured):
        return states.COMPLETED, f"it got worse {WORSE_LIMIT} times in a row: {kept}"
    proposed = suggestions(task)
    if not proposed:
        return states.COMPLETED, f"the evaluation suggests nothing more: {kept}"
    if were_done(task, proposed):
        return states.COMPLETED, f"the evaluation suggests what was just done: {kept}"
    return states.OPTIMIZING, f"iteration {task.iteration} reached {name} {measured[-1].value:.4f}"


def got_worse(measured: list[Score]) -> bool:
    """Whether each of the last iterations is below the one before it."""
    last = [score.value for score in measured[-WORSE_LIMIT - 1 :]]
    falls = [after < before for before, after in pairwise(last)]
    return len(falls) == WORSE_LIMIT and all(falls)


def were_done(task: Task, proposed: list[dict[str, object]]) -> bool:
    """Whether the next iteration would do what this one did, and so come to the same."""
    run = Run.objects.filter(
        owner_id=task.pk, kind=states.OPTIMIZING, status=RunStatus.DONE, iteration=task.iteration
    ).first()
    done = [essence(action) for action in run.metrics.get("actions", [])] if run else []
    return all(essence(action) in done for action in proposed)


def essence(action: dict[str, object]) -> dict[str, object]:
    """What an action does, without why."""
    return {name: value for name, value in action.items() if name not in REASONS}


def suggestions(task: Task) -> list[dict[str, object]]:
    """What the present iteration's evaluation would have optimizing do, and the task can use: what
    learns in the order of time leaves added events out."""
    run = Run.objects.filter(
        owner_id=task.pk, kind=states.EVALUATING, status=RunStatus.DONE, iteration=task.iteration
    ).first()
    proposed = run.metrics.get("suggestions", []) if run else []
    unused = {"augment"} if task.parameters.get("temporal") else set()
    return [
        suggestion
        for suggestion in proposed
        if suggestion.get("automatic", True) and suggestion.get("action") not in unused
    ]
