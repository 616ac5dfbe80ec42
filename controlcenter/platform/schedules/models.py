"""Schedules, and what became of each of their fire times."""

import uuid
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from controlcenter.platform.common.scoping import Scoped


class Missed(models.TextChoices):
    """What becomes of a fire time that nobody looked at in time."""

    MAKE_UP = "make_up", "make up once: one task for the latest"
    SKIP = "skip", "skip"


class Overlap(models.TextChoices):
    """What becomes of a fire time while a task of the schedule is not over."""

    WAIT = "wait", "wait until it is over"
    QUEUE = "queue", "create another task, which queues"
    SKIP = "skip", "skip"


class Outcome(models.TextChoices):
    """What became of a fire."""

    CREATED = "created", "a task was created"
    MADE_UP = "made_up", "missed, and its task was created later"
    WAITING = "waiting", "waits until the schedule's last task is over"
    SKIPPED = "skipped", "left out, as the schedule says"
    REFUSED = "refused", "the task could not be created"


class Schedule(Scoped):
    """Something that is made again and again, at the times of a cron expression.

    What a fire makes, its ``action`` says and reads from ``spec`` (``actions.Action``).

    ``decided_until`` is the truth of what is due: the fire times after it. ``next_at`` is the
    first of them, kept so that one indexed query finds the schedules to look at.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=200)
    cron = models.CharField(
        max_length=100, help_text="Minute, hour, day of month, month, day of week."
    )
    timezone = models.CharField(max_length=64, default="UTC", help_text="Such as Europe/Berlin.")
    action = models.CharField(max_length=32, editable=False)
    spec = models.JSONField(default=dict, help_text="What is made; its action reads it.")
    missed = models.CharField(max_length=16, choices=Missed.choices, default=Missed.MAKE_UP)
    overlap = models.CharField(max_length=16, choices=Overlap.choices, default=Overlap.WAIT)
    enabled = models.BooleanField(default=True)
    decided_until = models.DateTimeField(editable=False)
    next_at = models.DateTimeField(
        null=True, editable=False, help_text="The next fire time; null while it is disabled."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="one_schedule_a_name"),
        ]
        indexes = [
            models.Index(fields=["next_at"], condition=Q(enabled=True), name="schedules_due")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class Fire(Scoped):
    """One fire time of a schedule and what became of it; written once it was decided.

    Unique by schedule and fire time: however many processes look, a fire makes one thing.
    """

    workspace_path = "schedule__workspace"
    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="fires")
    fire_time = models.DateTimeField()
    result_id = models.UUIDField(
        null=True, unique=True, db_column="task_id", help_text="What it made; null: nothing."
    )
    outcome = models.CharField(max_length=16, choices=Outcome.choices)
    reason = models.TextField(blank=True)
    passed_over = models.PositiveIntegerField(
        default=0, help_text="Fire times before this one that nobody looked at; it stands for them."
    )
    asked_by = models.CharField(
        max_length=150, blank=True, help_text="Who fired by hand; empty: the clock."
    )
    key = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-fire_time"]
        constraints = [
            models.UniqueConstraint(fields=["schedule", "fire_time"], name="one_fire_a_time"),
            models.UniqueConstraint(
                fields=["schedule"], condition=Q(outcome="waiting"), name="one_waiting_fire"
            ),
            models.UniqueConstraint(
                fields=["schedule", "key"], condition=~Q(key=""), name="one_fire_a_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.fire_time:%Y-%m-%d %H:%M:%S} {self.outcome}"
