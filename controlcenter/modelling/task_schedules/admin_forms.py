"""The form of a schedule: when, and the form of a task for what."""

from typing import Any

from django import forms

from controlcenter.modelling.task_schedules.serializers import representation
from controlcenter.modelling.tasks.pages.forms import TaskForm, known_parameters
from controlcenter.platform.schedules.admin_forms import WHEN, WhenForm


class ScheduleForm(WhenForm, TaskForm):
    """When which task is created."""

    start = None  # type: ignore[assignment]
    name = forms.CharField(max_length=200, help_text="Also the name of its tasks.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.row is not None:
            # It stays in its workspace.
            self.fields["workspace"].widget = forms.HiddenInput()
            self.initial |= representation(self.row) | self.row.spec["parameters"]
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
