"""Reads of evaluation reports."""

from typing import Any

from controlcenter.evaluations.models import EvaluationReport
from controlcenter.profiles.models import Profile
from controlcenter.tasks.looping import Score
from controlcenter.tasks.models import Task


def iterations(task: Task) -> list[EvaluationReport]:
    """The reports of a task by iteration, without their bodies."""
    return list(EvaluationReport.objects.filter(task=task).order_by("iteration").defer("report"))


def scores(reports: list[EvaluationReport], metric: str) -> list[Score]:
    """The metric by iteration, where it was measured."""
    found = [(one.iteration, one.metrics.get(metric)) for one in reports]
    return [Score(number, float(v)) for number, v in found if isinstance(v, int | float)]


def profiles_of(workspace_id: Any, user_ids: set[str]) -> dict[str, Any]:
    """Key of each user's row by user id, of those that are there."""
    rows = Profile.objects.filter(workspace=workspace_id, user_id__in=user_ids)
    return dict(rows.values_list("user_id", "pk"))
