"""Runs: leased attempts at background work, and the messages that tell workers of them."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.common.scoping import Scoped
from controlcenter.platform.runs import protocol


class RunStatus(models.TextChoices):
    """Where one attempt stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed", "failed by its own fault"
    LOST = "lost", "its worker was lost; tried again"
    RELEASED = "released", "handed back; another attempt goes on from there"
    CANCELLED = "cancelled"


LIVE = (RunStatus.QUEUED, RunStatus.RUNNING)


class RunFields(Scoped):
    """What is known of one attempt, but for whom it is.

    ``subject`` names what a run without an owner works on (a dataset, a workspace's explanations).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(
        max_length=16, help_text="A stage, or validation, synthesis, explaining."
    )
    subject = models.CharField(max_length=64, blank=True)
    payload = models.JSONField(default=dict)
    queue = models.CharField(max_length=32)
    iteration = models.PositiveIntegerField(default=0)
    attempt = models.PositiveIntegerField(default=1)
    losses = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Attempts before this one that were lost in a row."
    )
    protocol = models.PositiveSmallIntegerField(
        default=protocol.current,
        db_default=1,
        help_text="Workers whose code speaks an older protocol leave the run to others.",
    )
    reuses = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The finished run of a task before, whose artifacts stand for those of this one.",
    )
    status = models.CharField(
        max_length=16, choices=RunStatus.choices, default=RunStatus.QUEUED, db_index=True
    )
    epoch = models.BigIntegerField(null=True)
    lease_owner = models.CharField(max_length=200, blank=True)
    lease_machine = models.CharField(max_length=200, blank=True, db_default="")
    lease_pid = models.PositiveIntegerField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    progress = models.JSONField(default=dict)
    checkpoint = models.ForeignKey(Artifact, null=True, on_delete=models.SET_NULL, related_name="+")
    metrics = models.JSONField(default=dict)
    error = models.TextField(blank=True, help_text="One sentence for the operator.")
    traceback = models.TextField(blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    rank_at = models.DateTimeField(
        null=True,
        help_text="Where it stands among those that wait for its pool, as a time; null: as old as "
        "it is.",
    )
    available_at = models.DateTimeField(db_default=Now())
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.kind} attempt {self.attempt}: {self.status}"


class Run(RunFields):
    """One leased attempt at one piece of background work.

    queued → running (claimed: a new epoch and a lease) → done, failed, lost, released or cancelled.
    What its ``owner_id`` is an id of, its kind says; a run of a kind without owner has none.
    """

    owner_id = models.UUIDField(null=True, db_column="task_id", db_index=True)

    class Meta:
        db_table = "tasks_run"
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["owner_id", "iteration", "kind", "attempt"], name="one_run_an_attempt"
            ),
            models.UniqueConstraint(
                fields=["owner_id"],
                condition=Q(status__in=["queued", "running"]),
                name="one_live_run_a_task",
            ),
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(status="queued") & Q(owner_id__isnull=True),
                name="one_queued_run_a_subject",
            ),
        ]
        indexes = [models.Index(fields=["status", "lease_expires_at"], name="run_leases")]


class Outbox(models.Model):
    """A message that its transaction decided to send; the relay sends it, at least once."""

    job = models.CharField(max_length=100, help_text="Name of the Celery task.")
    queue = models.CharField(max_length=32)
    run_id = models.UUIDField()
    request_id = models.CharField(max_length=64, blank=True)
    available_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True)
    tries = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)

    class Meta:
        db_table = "tasks_outbox"
        verbose_name_plural = "outbox"
        indexes = [
            models.Index(
                fields=["available_at"], condition=Q(sent_at__isnull=True), name="outbox_unsent"
            )
        ]

    def __str__(self) -> str:
        return f"{self.job} {self.run_id}"


class Chore(models.Model):
    """When a periodic duty of the system was last done."""

    name = models.CharField(max_length=32, primary_key=True)
    last_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "tasks_chore"

    def __str__(self) -> str:
        return self.name
