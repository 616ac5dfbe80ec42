"""Schedules and their fires on the wire."""

from datetime import datetime
from typing import Any

from rest_framework import serializers

from controlcenter.modelling.tasks.serializers import NewTaskSerializer
from controlcenter.platform.common import clock
from controlcenter.platform.common.serializers import StrictSerializer
from controlcenter.platform.schedules import cron
from controlcenter.platform.schedules.models import Fire, Missed, Outcome, Overlap, Schedule

UPCOMING = 5
TASK_FIELDS = ("workflow", "dataset", "base_version", "parameters", "priority")
OWN_FIELDS = ("name", "cron", "timezone", "missed", "overlap", "enabled")


class NewScheduleSerializer(NewTaskSerializer):
    """What is to be created when. The task's fields are those of ``POST /api/v1/tasks/``."""

    start = None  # type: ignore[assignment]
    name = serializers.CharField(max_length=200, help_text="Also the name of its tasks.")
    cron = serializers.CharField(
        max_length=100,
        help_text="Minute, hour, day of month, month, day of week: 0 3 * * MON-FRI.",
    )
    timezone = serializers.CharField(
        max_length=64, default="UTC", help_text="A name such as Europe/Berlin."
    )
    missed = serializers.ChoiceField(
        choices=Missed.choices,
        default=Missed.MAKE_UP,
        help_text="When nobody looked for more than five minutes.",
    )
    overlap = serializers.ChoiceField(
        choices=Overlap.choices,
        default=Overlap.WAIT,
        help_text="When a task of the schedule is not over.",
    )
    enabled = serializers.BooleanField(default=True)


class ScheduleSerializer(serializers.ModelSerializer[Schedule]):
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


class FireSerializer(serializers.ModelSerializer[Fire]):
    """One fire time and what became of it."""

    outcome = serializers.ChoiceField(choices=Outcome.choices, read_only=True)

    class Meta:
        model = Fire
        fields = ["fire_time", "outcome", "reason", "passed_over", "asked_by", "task", "decided_at"]
        read_only_fields = fields


class FireRequestSerializer(StrictSerializer):
    """Why it is fired by hand."""

    reason = serializers.CharField(max_length=300)


def upcoming(schedule: Schedule) -> list[datetime]:
    """The next fire times of an enabled schedule, in UTC."""
    if not schedule.enabled:
        return []
    after = max(clock.now(), schedule.decided_until)
    return cron.following(schedule.cron, schedule.timezone, after=after, count=UPCOMING)


def representation(schedule: Schedule) -> dict[str, Any]:
    """A schedule as a client would have to send it."""
    told = {name: getattr(schedule, name) for name in (*OWN_FIELDS, "workflow", "priority")}
    return told | {
        "dataset": schedule.dataset_id,
        "base_version": schedule.base_version_id,
        "parameters": schedule.parameters,
    }
