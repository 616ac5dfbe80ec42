"""The form of a schedule: when, and the form of a task for what."""

from typing import Any

from django import forms

from controlcenter.modelling.tasks.admin_forms import TaskForm, known_parameters
from controlcenter.platform.schedules.models import Missed, Overlap
from controlcenter.platform.schedules.serializers import representation

WHEN = ["cron", "timezone", "missed", "overlap", "enabled"]


class ScheduleForm(TaskForm):
    """When which task is created."""

    save_label = "Save the schedule"
    start = None  # type: ignore[assignment]
    name = forms.CharField(max_length=200, help_text="Also the name of its tasks.")
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.row is not None:
            # It stays in its workspace.
            self.fields["workspace"].widget = forms.HiddenInput()
            self.initial |= representation(self.row) | self.row.parameters
            self.initial["workspace"] = self.row.workspace.slug

    def groups(self) -> list[tuple[str | None, dict[str, Any]]]:
        """When first, then what, then how."""
        what = ["workspace", "name", "workflow", "mode", "dataset", "base_version", "priority"]
        how = [name for name in known_parameters() if name in self.fields and name not in what]
        return [
            ("When", {"fields": WHEN}),
            ("What", {"fields": what}),
            ("Parameters: empty for the default", {"fields": how}),
        ]
