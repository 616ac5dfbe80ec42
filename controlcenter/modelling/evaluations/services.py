"""Record what an evaluation found."""

import uuid

from msgspec import structs

from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks.stages import task_of
from controlcenter.platform.runs.commits import Commit
from ml.contracts.reports.evaluation import Evaluation


def record_report(commit: Commit, *, report: Evaluation, version_id: uuid.UUID) -> EvaluationReport:
    """Keep the report of the run's task and iteration, in the transaction that ends the run.

    Args:
        report: Its ``metrics`` get a column of their own.
        version_id: Of the evaluated version; the report names it where it is registered.

    Raises:
        TypeError: if the run is not of a task.
        django.db.IntegrityError: if the iteration has a report already.
    """
    registered = ModelVersion.objects.filter(pk=version_id, workspace=commit.run.workspace_id)
    return EvaluationReport.objects.create(
        task=task_of(commit),
        iteration=commit.run.iteration,
        model_version=registered.first(),
        metrics=report.metrics or {},
        report=structs.replace(report, metrics=None).to_dict(),
    )
