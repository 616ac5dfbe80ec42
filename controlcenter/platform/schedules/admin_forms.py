"""The form of a schedule: when it fires, what it makes comes from the form of its action."""

from django import forms

from controlcenter.platform.accounts.console.forms import ConsoleForm
from controlcenter.platform.schedules.models import Missed, Overlap

WHEN = ["cron", "timezone", "missed", "overlap", "enabled"]


class WhenForm(ConsoleForm):
    """When it fires."""

    save_label = "Save the schedule"
    name = forms.CharField(max_length=200)
    cron = forms.CharField(
        max_length=100,
        label="Cron expression",
        help_text="Minute, hour, day of month, month, day of week. For example: 0 3 * * MON-FRI",
    )
    timezone = forms.CharField(
        max_length=64, initial="UTC", help_text="For example: Europe/Berlin, or UTC."
    )
    missed = forms.ChoiceField(
        choices=Missed.choices,
        label="If it was missed",
        help_text="When nobody looked for more than five minutes.",
    )
    overlap = forms.ChoiceField(
        choices=Overlap.choices, label="If its last task is not over", initial=Overlap.WAIT
    )
    enabled = forms.BooleanField(required=False, initial=True)
