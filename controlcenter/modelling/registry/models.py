"""Model versions and the active pointer."""

import uuid

from django.db import models
from django.db.models.functions import Now

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.common.scoping import Scoped


class ModelVersion(Scoped):
    """Weights, encoders, vocabularies, fusion, schema, metrics and lineage of one model."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.PROTECT, related_name="+")
    number = models.PositiveIntegerField(help_text="Counts up within the workspace.")
    task_id = models.UUIDField(help_text="The task that made it.")
    iteration = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Of the task; only the workflow continuous has several."
    )
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="+")
    base = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.PROTECT,
        related_name="derived",
        help_text="The version whose weights a fusion kept.",
    )
    seed = models.BigIntegerField()
    code_version = models.CharField(max_length=64)
    schema = models.JSONField()
    schema_hash = models.CharField(max_length=64)
    rule_revision = models.PositiveIntegerField()
    rules = models.JSONField(help_text="The rules it was fused with.")
    rules_sitting_out = models.JSONField(default=dict)
    metrics = models.JSONField(help_text="By edge type beside the baselines, and of the score.")
    files = models.ManyToManyField(Artifact, related_name="+")
    graph_files = models.ManyToManyField(Artifact, related_name="trained_versions")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "number"], name="one_version_a_number"),
            models.UniqueConstraint(
                fields=["task_id", "iteration"], name="one_version_an_iteration"
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.number}"


class ActiveVersion(Scoped):
    """Which version the workspace's scores come from. Moved by compare-and-swap alone."""

    workspace = models.OneToOneField(
        "accounts.Workspace", primary_key=True, on_delete=models.CASCADE, related_name="active"
    )
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    moved_at = models.DateTimeField(db_default=Now())
    moved_by = models.CharField(max_length=150)
    reason = models.CharField(max_length=300)

    def __str__(self) -> str:
        return f"{self.workspace}: {self.version}"
