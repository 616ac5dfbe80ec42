"""What the stage ``evaluating`` found out about a version."""

import uuid

from django.db import models
from django.db.models.functions import Now

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.common.scoping import Scoped


class EvaluationReport(Scoped):
    """The long report of one iteration of a task."""

    workspace_path = "task__workspace"
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="evaluations")
    iteration = models.PositiveIntegerField()
    model_version = models.ForeignKey(
        ModelVersion, null=True, on_delete=models.SET_NULL, related_name="evaluations"
    )
    metrics = models.JSONField(help_text="The model's metrics by name, as links.mrr.")
    report = models.JSONField(help_text="Baselines, slices, worst cases, suggestions.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["task", "iteration"], name="one_report_an_iteration")
        ]

    def __str__(self) -> str:
        return f"{self.task}, iteration {self.iteration}"
