"""When schedules fire, and what became of it, on the wire; what they make, their action says."""

from datetime import datetime

from rest_framework import serializers

from controlcenter.platform.common import clock
from controlcenter.platform.common.api.serializers import StrictSerializer
from controlcenter.platform.schedules import cron
from controlcenter.platform.schedules.models import Fire, Missed, Outcome, Overlap, Schedule

UPCOMING = 5
OWN_FIELDS = ("name", "cron", "timezone", "missed", "overlap", "enabled")


class WhenSerializer(StrictSerializer):
    """What a request says of a schedule, but for what it is to make."""

    name = serializers.CharField(max_length=200)
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


class FireSerializer(serializers.ModelSerializer[Fire]):
    """One fire time and what became of it."""

    outcome = serializers.ChoiceField(choices=Outcome.choices, read_only=True)
    task = serializers.UUIDField(source="result_id", allow_null=True, read_only=True)

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
