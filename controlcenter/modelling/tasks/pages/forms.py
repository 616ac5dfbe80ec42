"""The form of a new task; its parameters are those of the API, with their ranges."""

from typing import TYPE_CHECKING, Any

from django import forms
from rest_framework import serializers

from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.spec.parameters import ParametersSerializer, Ranged
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.accounts.console.forms import (
    ConsoleForm,
    workspace_field,
    workspaces_for,
)


def related(name: str) -> Any:
    """The model of a relation that a room above declares."""
    return Task._meta.get_field(name).related_model


def known_parameters() -> dict[str, Any]:
    """The fields of the parameters' serializer by name."""
    fields: Any = ParametersSerializer().fields
    return dict(fields)


def form_field(field: Any) -> forms.Field:
    """A parameter as a field of a form; the serializer checks the range, and says it."""
    shared: dict[str, Any] = {"required": False, "help_text": field.help_text or ""}
    if field.default is not serializers.empty:
        shared["initial"] = field.default
    if isinstance(field, serializers.BooleanField):
        return forms.BooleanField(**shared)
    if isinstance(field, serializers.CharField):
        return forms.CharField(**shared)
    if isinstance(field, serializers.ChoiceField):
        return forms.ChoiceField(choices=list(field.choices.items()), **shared)
    assert isinstance(field, Ranged)
    step = "1" if isinstance(field, serializers.IntegerField) else "any"
    attributes = {"min": field.low, "max": field.high, "step": step, "placeholder": "default"}
    return forms.CharField(widget=forms.NumberInput(attributes), **shared)


class RowField(forms.ModelChoiceField[Any] if TYPE_CHECKING else forms.ModelChoiceField):  # type: ignore[misc]
    """A row of a workspace, shown with it."""

    def label_from_instance(self, obj: Any) -> str:
        return f"{obj} ({obj.workspace})"


class TaskForm(ConsoleForm):
    """What a task is to do."""

    save_label = "Create the task"
    workspace = workspace_field()
    workflow = forms.ChoiceField(choices=[(w.value, w.value) for w in Workflow])
    name = forms.CharField(max_length=200, required=False)
    dataset = RowField(
        None, required=False, help_text="Needed but by a fusion; those that are ready are shown."
    )
    base_version = RowField(
        None,
        required=False,
        empty_label="the active one",
        help_text="Model version that embedding_only and fusion start from.",
    )
    priority = forms.IntegerField(
        min_value=-100, max_value=100, initial=0, help_text="Higher goes first. From -100 to 100."
    )
    start = forms.BooleanField(
        required=False, initial=True, label="Queue it at once", help_text="Else press Start later."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        where = {"workspace__in": workspaces_for(self.who, self.needs)}
        for name, more in (("dataset", {"state": "ready"}), ("base_version", {})):
            rows = related(name).objects.visible_to(self.who).filter(**where, **more)
            choice = self.fields[name]
            assert isinstance(choice, forms.ModelChoiceField)
            choice.queryset = rows.select_related("workspace")
        for name, field in known_parameters().items():
            self.fields[name] = form_field(field)

    def groups(self) -> list[tuple[str | None, dict[str, Any]]]:
        """What it does first, then how."""
        what = ["workspace", "workflow", "mode", "dataset", "base_version", "name"]
        when = ["priority", "start", "device"]
        how = [name for name in self.fields if name not in {*what, *when}]
        return [
            (None, {"fields": what}),
            ("When and where", {"fields": when}),
            ("Parameters: empty for the default", {"fields": how}),
        ]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        workspace = data.get("workspace")
        for name in ("dataset", "base_version"):
            row = data.get(name)
            if row is not None and workspace is not None and row.workspace_id != workspace.pk:
                self.add_error(name, f"{row} belongs to {row.workspace}, not to {workspace}.")
        filled = {
            name: data[name]
            for name in known_parameters()
            if name in data and data[name] not in ("", None)
        }
        parameters = ParametersSerializer(data=filled)
        if parameters.is_valid():
            data["parameters"] = dict(parameters.validated_data)
        else:
            self.add_refusal(serializers.ValidationError(parameters.errors))
        return data
