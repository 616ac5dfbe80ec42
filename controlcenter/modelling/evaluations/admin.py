"""Evaluation reports in the admin: for reading."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from controlcenter.modelling.evaluations import queries, tables
from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.evaluations.user_pages import pages_of
from controlcenter.modelling.reports.cells import sentences, unreadable
from controlcenter.modelling.reports.metric_tables import metric_tables
from controlcenter.modelling.reports.reliability import reliability
from controlcenter.modelling.tasks import iterations
from controlcenter.platform.accounts.console import ScopedAdmin, WorkspaceFilter
from controlcenter.platform.common.formatting import (
    NONE,
    Table,
    badge,
    link,
    number,
    pretty,
    scored,
    when,
)
from ml.contracts.reports.base import ReportError
from ml.contracts.reports.evaluation import Evaluation


@admin.register(EvaluationReport)
class EvaluationReportAdmin(ScopedAdmin):
    """How good a version is, where it fails, and what may help: one report an iteration."""

    change_form_template = "admin/ups/evaluation.html"
    list_display = (
        "task", "workspace", "iteration", "version", "links_mrr", "score_auc", "calibration",
        "created",
    )  # fmt: skip
    list_filter = (WorkspaceFilter,)
    list_select_related = ("task__workspace", "model_version")
    search_fields = ("task__name", "task__id__iexact", "id__iexact")
    fieldsets = (
        (None, {"fields": ("task", "iteration", "model_version", "created_at", "id")}),
        ("All metrics by name", {"classes": ["collapse"], "fields": ("metrics_text",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset = super().get_queryset(request).select_related("task__workspace", "model_version")
        queryset = queryset.annotate(score_validated=queries.SCORE_VALIDATED)
        listed = request.resolver_match and request.resolver_match.url_name == (
            "evaluations_evaluationreport_changelist"
        )
        return queryset.defer("report") if listed else queryset

    @admin.display(description="workspace")
    def workspace(self, report: EvaluationReport) -> str:
        return str(report.task.workspace)

    @admin.display(description="version")
    def version(self, report: EvaluationReport) -> str:
        return str(report.model_version or NONE)

    @admin.display(description="MRR of links")
    def links_mrr(self, report: EvaluationReport) -> str:
        return number(report.metrics.get("links.mrr"))

    @admin.display(description="AUC")
    def score_auc(self, report: Any) -> SafeString | str:
        return measured(report, "score.auc")

    @admin.display(description="calibration error")
    def calibration(self, report: EvaluationReport) -> str:
        return number(report.metrics.get("score.calibration_error"))

    @admin.display(description="created", ordering="created_at")
    def created(self, report: EvaluationReport) -> str:
        return when(report.created_at)

    @admin.display(description="metrics")
    def metrics_text(self, report: EvaluationReport) -> SafeString:
        return pretty(report.metrics)

    def panels(self, request: HttpRequest, row: EvaluationReport) -> dict[str, Any]:
        siblings = queries.iterations(row.task)
        metric = iterations.metric_of(row.task)
        scores = queries.scores(siblings, metric)
        return {
            "links": page_links(row),
            "plot": tables.iterations_plot(metric, scores),
            "iterations": self.iterations_table(row, siblings, metric, iterations.best(scores)),
            **report_panels(row),
        }

    def iterations_table(
        self,
        row: EvaluationReport,
        siblings: list[EvaluationReport],
        metric: str,
        best: iterations.Score | None,
    ) -> Table:
        """All iterations of the task; empty where there is one alone."""
        names = list(dict.fromkeys([metric, "links.mrr", "score.auc"]))
        rows = [
            [
                f"{report.iteration} (this one)"
                if report.pk == row.pk
                else link(self.row_url(report), report.iteration),
                *(measured(report, name) for name in names),
                badge("active", "best") if best and best.iteration == report.iteration else "",
            ]
            for report in siblings
        ]
        shown = rows if len(rows) > 1 else []
        columns = ["iteration", *names, ""]
        return Table("Iterations of this task", columns, shown, numeric=range(1, 1 + len(names)))


def report_panels(row: EvaluationReport) -> dict[str, Any]:
    """What the report says, or why it cannot be read."""
    try:
        report = Evaluation.from_dict(row.report)
    except ReportError as error:
        return {"metrics": [unreadable(error)]}
    pages = pages_of(row.task.workspace_id, tables.users_named(report.worst))
    worst = report.worst
    return {
        "notes": sentences(report.notes),
        "suggestions": tables.suggestions_table(report.suggestions),
        "metrics": metric_tables(report.links, report.score),
        "reliability": reliability(report.score),
        "slices": [
            tables.link_slices_table(report.slices.links, report.intervals),
            tables.user_slices_table(report.slices.users),
        ],
        "worst": [
            tables.worst_users_table(worst.users, pages),
            tables.worst_links_table(worst.links, pages),
        ],
    }


def measured(report: Any, name: str) -> SafeString | str:
    """A metric of a report; one of the score says where nothing validated it."""
    proven = report.score_validated if name.startswith("score.") else None
    return scored(report.metrics.get(name), proven)


def page_links(report: EvaluationReport) -> list[dict[str, str]]:
    """Where task and version are shown."""
    task = reverse("admin:tasks_task_change", args=[report.task_id])
    links = [{"url": task, "label": f"Task {report.task}"}]
    if report.model_version is not None:
        url = reverse("admin:registry_modelversion_change", args=[report.model_version_id])
        links.append({"url": url, "label": f"Model {report.model_version}"})
    return links
