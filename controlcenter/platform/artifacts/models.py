"""What lies in the object store, as the database knows it."""

import uuid

from django.db import models
from django.db.models.functions import Now

from controlcenter.platform.common.scoping import Scoped


class Artifact(Scoped):
    """One object, written once. The row is made after the object was stored and checked."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.PROTECT, related_name="+")
    key = models.CharField(max_length=500, unique=True)
    name = models.CharField(max_length=200, help_text="File name within its stage or model.")
    size = models.BigIntegerField(help_text="Bytes.")
    sha256 = models.CharField(max_length=64)
    run_id = models.UUIDField(null=True, db_index=True)
    epoch = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return self.key
