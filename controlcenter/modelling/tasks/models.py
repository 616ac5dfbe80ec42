"""Tasks, their transitions, events, and their runs as they read them."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.machine import TaskMachine
from controlcenter.platform.common.hooks import Hook
from controlcenter.platform.common.scoping import Scoped
from controlcenter.platform.runs.models import Run, RunFields


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
        transition = Transition.objects.create(
            task=self, source=source, target=target, actor=actor, reason=reason
        )
        TaskEvent.objects.create(
            task=self, kind="state", data={"from": source, "to": target, "reason": reason}
        )
        transition_taken(self, transition)


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


class StageRun(RunFields):
    """The runs as tasks read them: each with the task that it is an attempt for, if any.

    For reading alone: ``Run`` is the model of the table, and what changes a row of it.
    """

    task = models.ForeignKey(
        Task, null=True, on_delete=models.CASCADE, related_name="runs", db_column="task_id"
    )

    class Meta:
        managed = False
        db_table = Run._meta.db_table
        ordering = ["created_at"]
