"""The switch of ingestion."""

from django.db import models
from django.db.models.functions import Now

from controlcenter.platform.common.scoping import Scoped


class Ingestion(Scoped):
    """Whether a workspace takes events now."""

    workspace = models.OneToOneField(
        "accounts.Workspace", primary_key=True, on_delete=models.CASCADE, related_name="ingestion"
    )
    stopped = models.BooleanField(default=False)
    reason = models.CharField(max_length=300, blank=True)
    changed_by = models.CharField(max_length=150, blank=True)
    changed_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return "stopped" if self.stopped else "running"
