"""Webhooks: who wants to hear of which events, and what is told to them."""

import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from controlcenter.platform.common.fields import OrderedJSONField
from controlcenter.platform.common.scoping import Scoped
from controlcenter.platform.webhooks.subjects import NAME_LENGTH


class Webhook(Scoped):
    """An address that is told of events of a workspace, such as the transitions of its tasks.

    ``states`` are names of events, as subjects register them: a task's are its states.
    Its secret is not stored: it is derived from the system's secret key and ``secret_salt``
    (``signing.derive``), and ``secret_digest`` tells whether it still is the one that was shown.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=100)
    url = models.CharField(
        max_length=2000, help_text="http or https, without user name and password."
    )
    states = ArrayField(
        models.CharField(max_length=NAME_LENGTH),
        default=list,
        blank=True,
        help_text="States whose entering is told; empty: all.",
    )
    enabled = models.BooleanField(default=True)
    secret_salt = models.CharField(max_length=64, editable=False)
    secret_digest = models.CharField(max_length=64, editable=False)
    previous_salt = models.CharField(max_length=64, blank=True, editable=False)
    rotated_at = models.DateTimeField(null=True, editable=False)
    failing_since = models.DateTimeField(
        null=True, editable=False, help_text="No attempt went well since; null: the last one did."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="one_webhook_a_name")
        ]

    def __str__(self) -> str:
        return self.name


class DeliveryStatus(models.TextChoices):
    """Where one delivery stands."""

    PENDING = "pending", "waits, or is tried again"
    DELIVERED = "delivered", "the receiver answered 2xx"
    FAILED = "failed", "given up after the last attempt"
    DROPPED = "dropped", "its webhook was disabled before it was delivered"


class Delivery(Scoped):
    """One event for one webhook, written in the event's transaction.

    ``id`` is the receiver's idempotency key: the same in every attempt and replay, as the payload.
    """

    workspace_path = "webhook__workspace"
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    subject_id = models.UUIDField(
        null=True, db_column="task_id", db_index=True, help_text="Null: ping."
    )
    event_id = models.BigIntegerField(null=True, db_column="transition_id")
    payload = OrderedJSONField()
    status = models.CharField(
        max_length=16, choices=DeliveryStatus.choices, default=DeliveryStatus.PENDING
    )
    attempts = models.PositiveIntegerField(default=0)
    earlier_attempts = models.PositiveIntegerField(
        default=0, editable=False, help_text="Those before the last replay."
    )
    available_at = models.DateTimeField(db_default=Now())
    leased_until = models.DateTimeField(null=True, editable=False)
    last_status_code = models.PositiveSmallIntegerField(null=True)
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now())
    first_attempt_at = models.DateTimeField(null=True)
    last_attempt_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "-event_id"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["webhook", "subject_id", "event_id"], name="one_delivery_an_event"
            )
        ]
        indexes = [
            models.Index(
                fields=["webhook", "available_at"],
                condition=Q(status="pending"),
                name="webhook_pending",
            ),
            models.Index(
                fields=["webhook", "subject_id", "event_id"],
                condition=Q(status="pending"),
                name="webhook_pending_order",
            ),
            models.Index(fields=["webhook", "-created_at"], name="webhook_history"),
            models.Index(fields=["created_at"], name="webhook_age"),
        ]

    def __str__(self) -> str:
        return f"{self.payload.get('type', '')} {str(self.id)[:8]}: {self.status}"
