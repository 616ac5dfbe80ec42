"""Model versions in the admin: metrics beside the baselines."""

from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.safestring import SafeString

from controlcenter.modelling.registry.models import ActiveVersion, ModelVersion
from controlcenter.platform.accounts.console import (
    ScopedAdmin,
    WorkspaceFilter,
)
from controlcenter.platform.common.link_tables import metric_tables
from controlcenter.platform.common.metric_tables import part
from controlcenter.platform.common.plots import reliability
from controlcenter.platform.common.presenting import (
    NONE,
    NOT_VALIDATED,
    Table,
    badge,
    link,
    number,
    pretty,
    when,
)

HEAVY = ("schema", "rules", "rules_sitting_out")


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
        return badge("active") if version.active else NONE

    @admin.display(description="created", ordering="created_at")
    def created(self, version: ModelVersion) -> str:
        return when(version.created_at)

    @staticmethod
    def score(version: ModelVersion, name: str) -> str:
        return number(part(version.metrics, "score").get(name))

    @admin.display(description="score predicts")
    def target(self, version: ModelVersion) -> SafeString | str:
        score = part(version.metrics, "score")
        if score.get("validated") is False:
            return badge("invalid", NOT_VALIDATED)
        return str(score.get("target", NONE))

    @admin.display(description="AUC")
    def auc(self, version: ModelVersion) -> str:
        return self.score(version, "auc")

    @admin.display(description="boosting AUC")
    def boosting(self, version: ModelVersion) -> str:
        return self.score(version, "boosting_auc")

    @admin.display(description="calibration error")
    def calibration(self, version: ModelVersion) -> str:
        return self.score(version, "ece")

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
            "metrics": metric_tables(row.metrics),
            "reliability": reliability(row.metrics),
            "unproven": part(row.metrics, "score").get("validated") is False,
            "files": Table("Files", ["file", "size", "SHA-256"], files),
            "pointer": pointer,
        }
