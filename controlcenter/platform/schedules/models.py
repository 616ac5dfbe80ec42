"""Schedules, and what became of each of their fire times."""

import uuid
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.task_spec import TaskSpec
from controlcenter.modelling.tasks.workflows import Workflow
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
    """A task that is created again and again, at the times of a cron expression.

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
    workflow = models.CharField(max_length=16, choices=Workflow.choices)
    dataset = models.ForeignKey(
        "datasets.Dataset", null=True, on_delete=models.PROTECT, related_name="+"
    )
    base_version = models.ForeignKey(
        "registry.ModelVersion", null=True, on_delete=models.PROTECT, related_name="+"
    )
    parameters = models.JSONField(default=dict)
    priority = models.SmallIntegerField(default=0, help_text="Higher goes first.")
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

    @property
    def asked(self) -> TaskSpec:
        """The task that each fire asks for."""
        return TaskSpec(
            workflow=self.workflow,
            parameters=self.parameters,
            dataset=self.dataset,
            base_version=self.base_version,
            name=self.name,
            priority=self.priority,
        )


class Fire(Scoped):
    """One fire time of a schedule and what became of it; written once it was decided.

    Unique by schedule and fire time: however many processes look, a fire makes one task.
    """

    workspace_path = "schedule__workspace"
    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="fires")
    fire_time = models.DateTimeField()
    task = models.OneToOneField(Task, null=True, on_delete=models.SET_NULL, related_name="fire")
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
