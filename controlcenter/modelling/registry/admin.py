"""Model versions in the admin: metrics beside the baselines."""

from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.safestring import SafeString

from controlcenter.modelling.registry.models import ActiveVersion, ModelVersion
from controlcenter.modelling.reports.cells import unreadable
from controlcenter.modelling.reports.metric_tables import metric_tables
from controlcenter.modelling.reports.reliability import reliability
from controlcenter.platform.accounts.console import (
    ScopedAdmin,
    WorkspaceFilter,
)
from controlcenter.platform.common.formatting import (
    NONE,
    NOT_VALIDATED,
    Table,
    badge,
    link,
    number,
    pretty,
    when,
)
from ml.contracts.reports.base import ReportError
from ml.contracts.reports.score import ScoreReport
from ml.contracts.reports.version import VersionMetrics

HEAVY = ("schema", "rules", "rules_sitting_out")
UNREADABLE = "cannot be read"


class ModelVersionAdmin(ScopedAdmin):
    """What was learned, how good it is beside the baselines, and which one is in force."""

    change_form_template = "admin/ups/version.html"
    list_display = (
        "title", "workspace", "in_force", "target", "auc", "boosting", "calibration", "dataset",
        "rule_revision", "created",
    )  # fmt: skip
    list_filter = (WorkspaceFilter,)
    list_select_related = ("workspace", "dataset")
    search_fields = ("number", "id__iexact", "code_version__startswith")
    fieldsets = (
        (None, {"fields": ("workspace", "number", "in_force", "created_at", "id")}),
        (
            "Lineage",
            {"fields": ("made_by", "dataset", "base", "seed", "code_version", "rule_revision")},
        ),
        (
            "Feature contract and rules",
            {
                "classes": ["collapse"],
                "fields": ("schema_hash", "schema_text", "rules_text", "sitting_out_text"),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        active = ActiveVersion.objects.filter(version=OuterRef("pk"))
        queryset: QuerySet[Any] = super().get_queryset(request).annotate(active=Exists(active))
        listed = request.resolver_match and request.resolver_match.url_name == (
            "registry_modelversion_changelist"
        )
        return queryset.defer(*HEAVY) if listed else queryset

    @admin.display(description="version", ordering="number")
    def title(self, version: ModelVersion) -> str:
        return str(version)

    @admin.display(description="task")
    def made_by(self, version: ModelVersion) -> SafeString:
        return link(reverse("admin:tasks_task_change", args=[version.task_id]), version.task_id)

    @admin.display(description="active")
    def in_force(self, version: Any) -> SafeString | str:
        """Whether the version is the active one."""
        return badge("active") if version.active else NONE

    @admin.display(description="created", ordering="created_at")
    def created(self, version: ModelVersion) -> str:
        return when(version.created_at)

    @admin.display(description="score predicts")
    def target(self, version: ModelVersion) -> SafeString | str:
        score = score_of(version)
        if score is None:
            return badge("invalid", UNREADABLE)
        return score.target if score.validated else badge("invalid", NOT_VALIDATED)

    @admin.display(description="AUC")
    def auc(self, version: ModelVersion) -> str:
        score = score_of(version)
        return number(score.auc if score else None)

    @admin.display(description="boosting AUC")
    def boosting(self, version: ModelVersion) -> str:
        score = score_of(version)
        return number(score.boosting_auc if score else None)

    @admin.display(description="calibration error")
    def calibration(self, version: ModelVersion) -> str:
        score = score_of(version)
        return number(score.calibration_error if score else None)

    @admin.display(description="schema")
    def schema_text(self, version: ModelVersion) -> SafeString:
        return pretty(version.schema)

    @admin.display(description="rules")
    def rules_text(self, version: ModelVersion) -> SafeString:
        return pretty(version.rules)

    @admin.display(description="rules that sit out")
    def sitting_out_text(self, version: ModelVersion) -> SafeString:
        return pretty(version.rules_sitting_out)

    def panels(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        pointer = ActiveVersion.objects.filter(version=row).first()
        files = [[file.name, filesizeformat(file.size), file.sha256] for file in row.files.all()]
        return {
            **metric_panels(row.metrics),
            "files": Table("Files", ["file", "size", "SHA-256"], files),
            "pointer": pointer,
        }


def score_of(version: ModelVersion) -> ScoreReport | None:
    """The report of a version's score; None where it cannot be read: its page says why."""
    try:
        return VersionMetrics.from_dict(version.metrics).score
    except ReportError:
        return None


def metric_panels(stored: object) -> dict[str, Any]:
    """Tables and drawing of a version's metrics, and whether its score is not validated."""
    try:
        metrics = VersionMetrics.from_dict(stored)
    except ReportError as error:
        return {"metrics": [unreadable(error)]}
    return {
        "metrics": metric_tables(metrics.links, metrics.score),
        "reliability": reliability(metrics.score),
        "unproven": not metrics.score.validated,
    }
