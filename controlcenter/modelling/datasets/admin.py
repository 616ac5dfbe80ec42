"""Datasets in the admin: upload, synthesize, read the quality report, delete."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import IntegerField, QuerySet
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from rest_framework.exceptions import ValidationError

from controlcenter.modelling.datasets import mapping_text, services
from controlcenter.modelling.datasets.models import Dataset, DatasetState
from controlcenter.modelling.datasets.report_tables import report_tables
from controlcenter.modelling.datasets.serializers import SynthesisSerializer
from controlcenter.modelling.reports.cells import unreadable
from controlcenter.platform.accounts.console import (
    Done,
    Operation,
    ScopedAdmin,
    WorkspaceFilter,
    account_of,
)
from controlcenter.platform.accounts.console.forms import ConfirmForm, ConsoleForm, workspace_field
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.common.formatting import NONE, badge, number, pretty, when
from ml.contracts.reports.base import ReportError
from ml.contracts.reports.dataset import DerivationReport, dataset_report

HEAVY = ("report", "mapping", "schema")


def synthesis_fields() -> dict[str, Any]:
    """What the API asks for, by name."""
    fields: Any = SynthesisSerializer().fields
    return dict(fields)


class UploadForm(ConsoleForm):
    """A file, and what its columns mean."""

    save_label = "Upload"
    workspace = workspace_field()
    file = forms.FileField(
        help_text="CSV or Parquet (one wide table), or a zip of users, products, apps, events.",
        max_length=255,
        allow_empty_file=True,
    )
    name = forms.CharField(max_length=200, required=False, help_text="Empty: the file's name.")
    mapping = forms.CharField(
        required=False,
        strip=False,
        widget=forms.Textarea({"rows": 12, "class": "vLargeTextField ups-mono"}),
        help_text="YAML or JSON: what the columns mean. Empty for the standard tables.",
    )
    mapping_file = forms.FileField(required=False, help_text="The mapping as a file instead.")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        file: Any = data.get("mapping_file")
        text = data.get("mapping", "")
        try:
            if file is not None:
                if text.strip():
                    raise ValidationError({"mapping_file": "give the text or the file, not both"})
                text = self.text_of(file)
            data["read_mapping"] = mapping_text.read(text)
        except ValidationError as error:
            self.add_refusal(error)
        return data

    @staticmethod
    def text_of(file: Any) -> str:
        if (file.size or 0) > mapping_text.MAX_BYTES:
            raise ValidationError({"mapping_file": f"has {file.size} bytes, which is too large"})
        try:
            return str(file.read(), "utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValidationError({"mapping_file": f"is not UTF-8 text: {error}"}) from error


class SynthesisForm(ConsoleForm):
    """A synthetic telecom population; its fields are those of the API."""

    save_label = "Synthesize"
    workspace = workspace_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in synthesis_fields().items():
            shared: dict[str, Any] = {"initial": field.default, "help_text": field.help_text or ""}
            if name == "name":
                self.fields[name] = forms.CharField(max_length=200, **shared)
            elif name == "structure":
                self.fields[name] = forms.BooleanField(required=False, **shared)
            else:
                low, high = field.min_value, field.max_value
                shared["help_text"] = f"From {low:,} to {high:,}."
                self.fields[name] = forms.IntegerField(min_value=low, max_value=high, **shared)


class StateFilter(admin.SimpleListFilter):
    """By state, in one word each."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, state.value) for state in DatasetState]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(state=self.value()) if self.value() else queryset


@admin.register(Dataset)
class DatasetAdmin(ScopedAdmin):
    """Immutable uploads, checked row by row before a task may use them."""

    change_form_template = "admin/ups/dataset.html"
    list_display = (
        "name", "workspace", "coloured_state", "size_text", "kept", "rejected", "created_by",
        "created",
    )  # fmt: skip
    list_filter = (WorkspaceFilter, StateFilter, "created_at")
    list_select_related = ("workspace", "created_by")
    search_fields = ("name", "filename", "sha256__startswith")
    fieldsets = (
        (None, {"fields": ("workspace", "name", "id")}),
        ("Lineage", {"fields": ("source", "derived_text", "tasks_text", "synthesis_text")}),
        (
            "Mapping and feature contract",
            {"classes": ["collapse"], "fields": ("mapping_text", "schema_hash", "schema_text")},
        ),
    )  # fmt: skip
    list_operations = (
        Operation("add", "Upload a dataset", "run_upload", Role.OPERATOR, UploadForm),
        Operation(
            "synthesize", "Synthesize", "run_synthesize", Role.OPERATOR, SynthesisForm,
            help="A worker writes a synthetic telecom population; the same seed, the same bytes.",
        ),
    )  # fmt: skip
    operations = (
        Operation(
            "refresh", "Create a refresh task", "run_refresh", Role.OPERATOR,
            offered=lambda row: row.state == DatasetState.READY,
        ),
        Operation(
            "delete", "Delete", "run_delete", Role.OPERATOR, ConfirmForm, danger=True,
            offered=lambda row: row.state in {DatasetState.READY, DatasetState.INVALID},
            help="Its objects are removed; its row stays for the lineage.",
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset: QuerySet[Any] = super().get_queryset(request)
        listed = request.resolver_match and request.resolver_match.url_name == (
            "datasets_dataset_changelist"
        )
        if not listed:
            return queryset
        counts = {
            name: Cast(KT(f"report__rows_{name}"), IntegerField()) for name in ("kept", "rejected")
        }
        light: QuerySet[Any] = queryset.defer(*HEAVY)
        return light.annotate(kept_rows=counts["kept"], rejected_rows=counts["rejected"])

    @admin.display(description="state", ordering="state")
    def coloured_state(self, dataset: Dataset) -> SafeString:
        return badge(dataset.state)

    @admin.display(description="created", ordering="created_at")
    def created(self, dataset: Dataset) -> str:
        return when(dataset.created_at)

    @admin.display(description="size", ordering="size")
    def size_text(self, dataset: Dataset) -> str:
        return filesizeformat(dataset.size) if dataset.size is not None else NONE

    @admin.display(description="rows kept")
    def kept(self, dataset: Any) -> str:
        return number(dataset.kept_rows)

    @admin.display(description="rejected")
    def rejected(self, dataset: Any) -> str:
        return number(dataset.rejected_rows)

    @admin.display(description="derived datasets")
    def derived_text(self, dataset: Dataset) -> SafeString:
        return self.links_to("admin:datasets_dataset_change", dataset.derived.all())

    @admin.display(description="tasks")
    def tasks_text(self, dataset: Dataset) -> SafeString:
        return self.links_to("admin:tasks_task_change", dataset.tasks.all())

    @staticmethod
    def links_to(view: str, rows: QuerySet[Any]) -> SafeString:
        links = [format_html('<a href="{}">{}</a>', reverse(view, args=[r.pk]), r) for r in rows]
        return SafeString(", ".join(links) or NONE)

    @admin.display(description="synthesis")
    def synthesis_text(self, dataset: Dataset) -> SafeString:
        return pretty(dataset.synthesis)

    @admin.display(description="mapping")
    def mapping_text(self, dataset: Dataset) -> SafeString:
        return pretty(dataset.mapping)

    @admin.display(description="schema")
    def schema_text(self, dataset: Dataset) -> SafeString:
        return pretty(dataset.schema)

    def panels(self, request: HttpRequest, row: Dataset) -> dict[str, Any]:
        working = {DatasetState.GENERATING, DatasetState.VALIDATING}
        return {
            **report_panels(row.report),
            "working": row.state in working,
            "state_badge": badge(row.state),
        }

    def run_upload(self, request: HttpRequest, row: None, data: dict[str, Any]) -> Done:
        source = data["file"]
        dataset = services.upload(
            workspace=data["workspace"],
            account=account_of(request),
            source=source,
            filename=(source.name or services.NO_NAME)[-255:],
            name=data["name"],
            mapping=data["read_mapping"],
        )
        return Done(f"{dataset} is stored; a worker checks it now.", self.row_url(dataset))

    def run_synthesize(self, request: HttpRequest, row: None, data: dict[str, Any]) -> Done:
        config = {name: data[name] for name in synthesis_fields() if name != "name"}
        dataset = services.synthesize(
            workspace=data["workspace"],
            account=account_of(request),
            name=data["name"],
            config=config,
        )
        return Done(f"A worker writes {dataset} now.", self.row_url(dataset))

    def run_refresh(self, request: HttpRequest, row: Dataset, data: dict[str, Any]) -> Done:
        """To the form of a new task, filled in."""
        add = reverse("admin:tasks_task_add")
        return Done("", f"{add}?dataset={row.pk}&workspace={row.workspace.slug}")

    def run_delete(self, request: HttpRequest, row: Dataset, data: dict[str, Any]) -> Done:
        services.delete(dataset=row, account=account_of(request))
        return Done(f"The objects of {row} are gone.")


def report_panels(stored: object) -> dict[str, Any]:
    """What is known of the rows, or why that cannot be read; nothing before there is a report."""
    if not stored:
        return {}
    try:
        report = dataset_report(stored)
    except ReportError as error:
        return {"tables": [unreadable(error)]}
    tables = report_tables(report)
    if isinstance(report, DerivationReport):
        return {"tables": tables, "made_by": report.made_by}
    return {"tables": tables, "warnings": report.warnings}
