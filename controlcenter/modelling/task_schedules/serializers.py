"""Schedules of tasks on the wire."""

from datetime import datetime
from typing import Any

from rest_framework import serializers

from controlcenter.modelling.tasks.serializers import NewTaskSerializer
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.schedules.models import Schedule
from controlcenter.platform.schedules.serializers import OWN_FIELDS, WhenSerializer, upcoming

TASK_FIELDS = ("workflow", "dataset", "base_version", "parameters", "priority")


class NewScheduleSerializer(NewTaskSerializer, WhenSerializer):
    """What is to be created when. The task's fields are those of ``POST /api/v1/tasks/``."""

    start = None  # type: ignore[assignment]
    name = serializers.CharField(max_length=200, help_text="Also the name of its tasks.")


class ScheduleSerializer(serializers.ModelSerializer[Schedule]):
    workflow = serializers.ChoiceField(
        source="spec.workflow", choices=Workflow.choices, read_only=True
    )
    dataset = serializers.UUIDField(source="spec.dataset", allow_null=True, read_only=True)
    base_version = serializers.UUIDField(
        source="spec.base_version", allow_null=True, read_only=True
    )
    parameters = serializers.JSONField(source="spec.parameters", read_only=True)
    priority = serializers.IntegerField(
        source="spec.priority", read_only=True, help_text="Higher goes first."
    )
    created_by = serializers.CharField(
        source="created_by.username", default=None, allow_null=True, read_only=True
    )

    class Meta:
        model = Schedule
        fields = [
            "id",
            *OWN_FIELDS,
            *TASK_FIELDS,
            "next_at",
            "created_by",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields


class ScheduleDetailSerializer(ScheduleSerializer):
    upcoming = serializers.SerializerMethodField(help_text="The next fire times, in UTC.")

    class Meta(ScheduleSerializer.Meta):
        fields = [*ScheduleSerializer.Meta.fields, "upcoming"]
        read_only_fields = fields

    def get_upcoming(self, schedule: Schedule) -> list[datetime]:
        return upcoming(schedule)


def representation(schedule: Schedule) -> dict[str, Any]:
    """A schedule as a client would have to send it."""
    return {name: getattr(schedule, name) for name in OWN_FIELDS} | schedule.spec
