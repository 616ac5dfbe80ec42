"""Tasks, their runs, transitions, events, and the outbox."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from controlcenter.modelling.tasks import protocol, states
from controlcenter.modelling.tasks.machine import TaskMachine
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.common.hooks import Hook
from controlcenter.platform.common.scoping import Scoped


class Task(TaskMachine, Scoped):
    """One refresh of a workspace's profiles by a workflow."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=200, blank=True)
    dataset = models.ForeignKey(
        "datasets.Dataset", null=True, on_delete=models.PROTECT, related_name="tasks"
    )
    base_version = models.ForeignKey(
        "registry.ModelVersion",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Model version that embedding_only and fusion start from.",
    )
    parameters = models.JSONField(default=dict)
    priority = models.SmallIntegerField(default=0, help_text="Higher goes first.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    idempotency_key = models.CharField(max_length=200, blank=True)
    request_hash = models.CharField(max_length=64, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    cancel_requested_at = models.DateTimeField(null=True)
    cancel_requested_by = models.CharField(max_length=150, blank=True)
    suspend_requested_at = models.DateTimeField(null=True)
    suspend_requested_by = models.CharField(max_length=150, blank=True)
    retry_of = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.PROTECT,
        related_name="retries",
        help_text="The task that failed, whose finished stages this one takes over.",
    )
    error = models.TextField(blank=True, help_text="One sentence for the operator.")
    metrics = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="one_task_a_key",
            ),
            models.UniqueConstraint(
                fields=["workspace"],
                condition=Q(state__in=states.ACTIVE),
                name="one_active_task_a_workspace",
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"{self.workflow} {str(self.id)[:8]}"

    def note_transition(self, *, source: str, target: str, actor: str, reason: str) -> None:
        """Write the row and the event of an edge; called by ``machine.move`` alone."""
        taken = Transition.objects.create(
            task=self, source=source, target=target, actor=actor, reason=reason
        )
        TaskEvent.objects.create(
            task=self, kind="state", data={"from": source, "to": target, "reason": reason}
        )
        transition_taken(self, taken)


class Transition(Scoped):
    """One edge that was taken."""

    workspace_path = "task__workspace"
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="transitions")
    source = models.CharField(max_length=16, choices=states.CHOICES)
    target = models.CharField(max_length=16, choices=states.CHOICES)
    actor = models.CharField(max_length=150)
    reason = models.TextField(blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"


transition_taken: Hook[[Task, Transition]] = Hook()
"""Rooms above hear of every transition, in its transaction: what they write comes or goes with it.
A listener is quick, and its error undoes the transition.

It gets the locked task (state, version and iteration are the new ones; its times are as they were
before the edge) and the row of the transition. Creation is one too: from pending to pending.
"""


class TaskEvent(Scoped):
    """What a task's stream shows. Written under the task's lock, so ids are in commit order."""

    workspace_path = "task__workspace"
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=16)
    data = models.JSONField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.data}"


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


class Run(Scoped):
    """One leased attempt at one piece of background work.

    queued → running (claimed: a new epoch and a lease) → done, failed, lost, released or cancelled.
    ``subject`` names what a run without a task works on (a dataset, a workspace's explanations).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.PROTECT, related_name="+")
    task = models.ForeignKey(Task, null=True, on_delete=models.CASCADE, related_name="runs")
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
    available_at = models.DateTimeField(db_default=Now())
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["task", "iteration", "kind", "attempt"], name="one_run_an_attempt"
            ),
            models.UniqueConstraint(
                fields=["task"],
                condition=Q(status__in=["queued", "running"]),
                name="one_live_run_a_task",
            ),
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(status="queued", task__isnull=True),
                name="one_queued_run_a_subject",
            ),
        ]
        indexes = [models.Index(fields=["status", "lease_expires_at"], name="run_leases")]

    def __str__(self) -> str:
        return f"{self.kind} attempt {self.attempt}: {self.status}"


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

    def __str__(self) -> str:
        return self.name
