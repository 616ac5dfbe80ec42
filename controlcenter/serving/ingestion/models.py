"""The event log."""

from django.db import models
from django.db.models.functions import Now

from controlcenter.platform.common.scoping import Scoped


class Event(Scoped):
    """One fact with a time. The row is never changed; ``event_id`` makes ingestion idempotent.

    The table has one more column, ``xid``: the transaction that wrote the row. A consumer reads in
    commit order, by ``(xid, id)`` below the snapshot's horizon; ids alone skip late commits.
    """

    workspace = models.ForeignKey(
        "accounts.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    event_id = models.UUIDField()
    source = models.CharField(max_length=200)
    type = models.CharField(max_length=32)
    timestamp = models.DateTimeField()
    actor = models.CharField(max_length=200)
    target = models.CharField(max_length=200)
    target_type = models.CharField(max_length=32)
    payload = models.JSONField(default=dict)
    meta = models.JSONField(default=dict)
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "event_id"], name="one_event_an_id")
        ]
        indexes = [
            models.Index(fields=["workspace", "actor", "-timestamp"], name="event_actor"),
            models.Index(fields=["workspace", "-id"], name="event_workspace"),
            models.Index(
                fields=["workspace", "target"],
                condition=models.Q(target_type="user"),
                name="event_called",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.type} {self.target}"


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
