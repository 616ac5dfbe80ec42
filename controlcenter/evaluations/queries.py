"""Reads of evaluation reports."""

from typing import Any

from controlcenter.evaluations.models import EvaluationReport
from controlcenter.profiles.models import Profile
from controlcenter.tasks.models import Task

DEFAULT_METRIC = "links.mrr"


def iterations(task: Task) -> list[EvaluationReport]:
    """The reports of a task by iteration, without their bodies."""
    return list(EvaluationReport.objects.filter(task=task).order_by("iteration").defer("report"))


def watched_metric(task: Task) -> str:
    """The metric that the task is judged by."""
    told = task.parameters.get("performance_metric") if isinstance(task.parameters, dict) else None
    return str(told or DEFAULT_METRIC)


def scores(reports: list[EvaluationReport], metric: str) -> dict[int, float]:
    """The metric by iteration, where it was measured."""
    found = {one.iteration: one.metrics.get(metric) for one in reports}
    return {number: float(v) for number, v in found.items() if isinstance(v, int | float)}


def profiles_of(workspace_id: Any, user_ids: set[str]) -> dict[str, Any]:
    """Key of each user's row by user id, of those that are there."""
    rows = Profile.objects.filter(workspace=workspace_id, user_id__in=user_ids)
    return dict(rows.values_list("user_id", "pk"))
