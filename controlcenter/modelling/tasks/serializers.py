"""Tasks, runs and transitions on the wire."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks import iterations, states
from controlcenter.modelling.tasks.models import StageRun, Task, Transition
from controlcenter.modelling.tasks.queueing import waiting
from controlcenter.modelling.tasks.spec.parameters import ParametersSerializer
from controlcenter.modelling.tasks.versions import kept_version, versions_of
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.common.api.serializers import StrictSerializer
from controlcenter.platform.runs.models import RunStatus


class RunSerializer(serializers.ModelSerializer[StageRun]):
    """One attempt at a stage."""

    status = serializers.ChoiceField(choices=RunStatus.choices, read_only=True)

    class Meta:
        model = StageRun
        fields = [
            "id",
            "kind",
            "iteration",
            "attempt",
            "losses",
            "reuses",
            "status",
            "queue",
            "lease_owner",
            "heartbeat_at",
            "progress",
            "metrics",
            "error",
            "created_at",
            "started_at",
            "finished_at",
        ]
        read_only_fields = fields


class TransitionSerializer(serializers.ModelSerializer[Transition]):
    source = serializers.ChoiceField(choices=states.CHOICES, read_only=True)  # type: ignore[assignment]
    target = serializers.ChoiceField(choices=states.CHOICES, read_only=True)

    class Meta:
        model = Transition
        fields = ["source", "target", "actor", "reason", "at"]
        read_only_fields = fields


class WaitingSerializer(serializers.Serializer[Any]):
    """Why a task does not run now."""

    place = serializers.IntegerField(help_text="How many tasks of the workspace go before it.")
    reason = serializers.CharField()
    behind = serializers.ListField(child=serializers.UUIDField())


class TaskListSerializer(serializers.ListSerializer[Any]):
    """Reads the versions of all listed tasks at once."""

    def to_representation(self, data: Any) -> list[Any]:
        tasks = list(data)
        if isinstance(self.child, TaskSerializer):
            self.child.versions = versions_of(task.pk for task in tasks)
        return super().to_representation(tasks)


class TaskSerializer(serializers.ModelSerializer[Task]):
    versions: dict[UUID, list[ModelVersion]] | None = None
    """Of all tasks of a list, by task; None: they are read for each."""

    state = serializers.ChoiceField(choices=states.CHOICES, read_only=True)
    created_by = serializers.CharField(
        source="created_by.username", default=None, allow_null=True, read_only=True
    )
    progress = serializers.SerializerMethodField(help_text="Of the stage that runs now.")
    model_version = serializers.SerializerMethodField(
        help_text="Of several iterations the one that is kept: the best."
    )

    class Meta:
        model = Task
        list_serializer_class = TaskListSerializer
        fields = [
            "id",
            "name",
            "workflow",
            "mode",
            "state",
            "error",
            "dataset",
            "base_version",
            "model_version",
            "parameters",
            "priority",
            "progress",
            "cancel_requested_at",
            "suspend_requested_at",
            "retry_of",
            "iteration",
            "created_by",
            "created_at",
            "started_at",
            "finished_at",
        ]
        read_only_fields = fields

    def get_progress(self, task: Task) -> dict[str, Any]:
        live = [run for run in task.runs.all() if run.status == RunStatus.RUNNING]
        return {"stage": live[0].kind, **live[0].progress} if live else {}

    def get_model_version(self, task: Task) -> str | None:
        listed = None if self.versions is None else self.versions.get(task.pk, [])
        version = kept_version(task, listed)
        return str(version.pk) if version else None


class IterationSerializer(serializers.Serializer[Any]):
    """What an iteration reached in the metric that the task's iterations are compared by."""

    iteration = serializers.IntegerField()
    metric = serializers.CharField()
    value = serializers.FloatField()
    best = serializers.BooleanField()


class TaskDetailSerializer(TaskSerializer):
    waiting = serializers.SerializerMethodField()
    iterations = serializers.SerializerMethodField()

    class Meta(TaskSerializer.Meta):
        fields = [*TaskSerializer.Meta.fields, "waiting", "iterations", "metrics"]
        read_only_fields = fields

    @extend_schema_field(WaitingSerializer(allow_null=True))
    def get_waiting(self, task: Task) -> dict[str, Any] | None:
        waits_for = waiting(task)
        return asdict(waits_for) if waits_for else None

    @extend_schema_field(IterationSerializer(many=True))
    def get_iterations(self, task: Task) -> list[dict[str, Any]]:
        if not any(run.kind == states.EVALUATING for run in task.runs.all()):
            return []
        scores, metric = iterations.scores(task), iterations.metric_of(task)
        top = iterations.best(scores)
        return [
            {
                "iteration": score.iteration,
                "metric": metric,
                "value": score.value,
                "best": score == top,
            }
            for score in scores
        ]


class NewTaskSerializer(StrictSerializer):
    """What a task is to do."""

    workflow = serializers.ChoiceField(choices=Workflow.choices, default=Workflow.REFRESH)
    name = serializers.CharField(default="", allow_blank=True, max_length=200)
    dataset = serializers.UUIDField(
        required=False, allow_null=True, default=None, help_text="Needed by a refresh."
    )
    base_version = serializers.UUIDField(
        required=False,
        allow_null=True,
        default=None,
        help_text="Model version that embedding_only and fusion start from; by default the one "
        "that is active when the task begins.",
    )
    priority = serializers.IntegerField(min_value=-100, max_value=100, default=0)
    start = serializers.BooleanField(default=True, help_text="false: wait for start/.")
    parameters = ParametersSerializer(required=False)
