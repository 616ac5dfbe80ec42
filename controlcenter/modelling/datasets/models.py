"""Datasets: immutable uploads and what is known of them."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.common.fields import OrderedJSONField
from controlcenter.platform.common.scoping import Scoped


class DatasetState(models.TextChoices):
    """Where a dataset stands."""

    GENERATING = "generating", "a worker writes the synthetic population"
    VALIDATING = "validating", "a worker checks every row"
    READY = "ready", "tasks may use it"
    INVALID = "invalid", "cannot be used: see the error and the report"
    DELETED = "deleted", "its objects are gone, its row stays for the lineage"


class Dataset(Scoped):
    """One upload in the object store plus its metadata; a derived one names its source."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=200)
    state = models.CharField(max_length=16, choices=DatasetState.choices, db_index=True)
    filename = models.CharField(max_length=255)
    upload = models.ForeignKey(Artifact, null=True, on_delete=models.SET_NULL, related_name="+")
    size = models.BigIntegerField(null=True, help_text="Bytes as uploaded.")
    sha256 = models.CharField(max_length=64, blank=True)
    mapping = OrderedJSONField(null=True, help_text="What the columns mean; null: standard tables.")
    schema = models.JSONField(null=True, help_text="The feature contract of its checked tables.")
    schema_hash = models.CharField(max_length=64, blank=True)
    report = models.JSONField(null=True, help_text="The quality report.")
    error = models.TextField(blank=True)
    source = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="derived")
    synthesis = models.JSONField(null=True, help_text="Configuration of a synthetic population.")
    checked_run_id = models.UUIDField(null=True)
    checked_epoch = models.BigIntegerField(null=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    validated_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name
