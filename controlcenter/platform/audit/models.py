"""Who did what, append-only: the database refuses to change or delete an entry."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from controlcenter.platform.common.scoping import Scoped


class AuditEntry(Scoped):
    """One thing somebody did, or that the system did for them."""

    workspace = models.ForeignKey(
        "accounts.Workspace",
        null=True,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
    )
    account = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
    )
    actor = models.CharField(max_length=150, help_text="Name of the account, or 'system'.")
    action = models.CharField(max_length=64, db_index=True)
    target_type = models.CharField(max_length=64)
    target_id = models.CharField(max_length=200)
    details = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [models.Index(fields=["workspace", "-id"], name="audit_workspace")]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.target_type} {self.target_id}"
