"""Reads of evaluation reports."""

from django.db.models import BooleanField
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast
from django.urls import reverse

from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.tasks.iterations import Score
from controlcenter.modelling.tasks.models import Task
from ml.contracts.reports.base import read

SCORE_VALIDATED = Cast(
    KeyTextTransform("validated", KeyTransform("score", "model_version__metrics")), BooleanField()
)
"""Whether the score was measured against more than the rules. From the version, which says the same
as the long body of its report, so that lists need not read that. Null: the version does not say."""


def iterations(task: Task) -> list[EvaluationReport]:
    """The reports of a task by iteration, without their bodies, with ``score_validated``."""
    reports = EvaluationReport.objects.filter(task=task).order_by("iteration").defer("report")
    return list(reports.annotate(score_validated=SCORE_VALIDATED))


def scores(reports: list[EvaluationReport], metric: str) -> list[Score]:
    """The metric by iteration, where it was measured."""
    by_name = [(report.iteration, read(dict[str, float], report.metrics)) for report in reports]
    return [Score(number, metrics[metric]) for number, metrics in by_name if metric in metrics]


def report_links(task: Task) -> list[dict[str, str]]:
    """Where the evaluation reports of a task are shown, if it has any."""
    if not EvaluationReport.objects.filter(task=task).exists():
        return []
    url = reverse("admin:evaluations_evaluationreport_changelist")
    return [{"url": f"{url}?task__id__exact={task.pk}", "label": "Evaluation reports"}]
