"""The event log, and how far its consumers have read it."""

from django.db import models
from django.db.models.functions import Now

from controlcenter.platform.common.scoping import Scoped
from controlcenter.platform.log.positions import EMPTY_SNAPSHOT


class Event(Scoped):
    """One fact with a time. The row is never changed; ``event_id`` makes writing idempotent.

    An event that is an edge of the workspace's graph has ``actor``, ``target`` and ``target_type``;
    any other has none of them.

    The table has one more column, ``xid``: the transaction that wrote the row. Consumers read in
    commit order, between two snapshots by ``(xid, id)``; ids alone skip late commits.
    """

    workspace = models.ForeignKey(
        "accounts.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    event_id = models.UUIDField()
    source = models.CharField(max_length=200)
    type = models.CharField(max_length=200)
    timestamp = models.DateTimeField()
    actor = models.CharField(max_length=200, null=True)
    target = models.CharField(max_length=200, null=True)
    target_type = models.CharField(max_length=32, null=True)
    payload = models.JSONField(default=dict)
    meta = models.JSONField(default=dict)
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "events_event"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "event_id"], name="one_event_an_id")
        ]
        indexes = [
            models.Index(
                fields=["workspace", "actor", "-timestamp"],
                condition=models.Q(actor__isnull=False),
                name="event_actor",
            ),
            models.Index(fields=["workspace", "-id"], name="event_workspace"),
            models.Index(
                fields=["workspace", "target"],
                condition=models.Q(target_type="user"),
                name="event_called",
            ),
        ]

    def __str__(self) -> str:
        if self.actor is None:
            return f"{self.type} of {self.source}"
        return f"{self.actor} {self.type} {self.target}"


class ConsumerPosition(Scoped):
    """Up to where a consumer has read the log of a workspace."""

    workspace = models.ForeignKey(
        "accounts.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    consumer = models.CharField(max_length=100)
    snapshot = models.TextField(default=EMPTY_SNAPSHOT, db_default=EMPTY_SNAPSHOT)
    at = models.DateTimeField(null=True, help_text="When that snapshot was taken.")

    class Meta:
        ordering = ["consumer", "workspace"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "consumer"], name="one_position_a_consumer"
            )
        ]

    def __str__(self) -> str:
        return f"{self.consumer} in {self.workspace}"
