"""Runs in the admin, for reading."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlcenter.platform.accounts.console import ScopedAdmin, WorkspaceFilter
from controlcenter.platform.common.formatting import NONE, badge, duration, link, pretty, when
from controlcenter.platform.runs import kinds
from controlcenter.platform.runs.models import Run

HEAVY = ("payload", "metrics", "traceback")


@admin.register(Run)
class RunAdmin(ScopedAdmin):
    """Every leased attempt at a piece of background work, of tasks and of datasets alike."""

    list_display = (
        "kind", "workspace", "made_for", "attempt", "coloured_status", "progress_text",
        "lease_owner", "created", "took",
    )  # fmt: skip
    list_filter = (WorkspaceFilter, "status", "kind")
    list_select_related = ("workspace",)
    search_fields = ("id__iexact", "owner_id__iexact", "subject")
    ordering = ("-created_at",)
    fieldsets = (
        (
            None,
            {"fields": ("workspace", "made_for", "kind", "subject", "coloured_status", "error")},
        ),
        (
            "Lease",
            {"fields": ("attempt", "epoch", "queue", "lease_owner", "heartbeat_at", "request_id")},
        ),
        ("Times", {"fields": ("created_at", "available_at", "started_at", "finished_at", "took")}),
        ("Progress and metrics", {"fields": ("progress_json", "metrics_json")}),
        ("Traceback", {"classes": ["collapse"], "fields": ("traceback_text",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset = super().get_queryset(request)
        listed = request.resolver_match and request.resolver_match.url_name == (
            "runs_run_changelist"
        )
        return queryset.defer(*HEAVY) if listed else queryset

    @admin.display(description="task", ordering="owner_id")
    def made_for(self, run: Run) -> SafeString | str:
        if run.owner_id is None:
            return NONE
        url = kinds.get(run.kind).owner.url(run.owner_id)
        return link(url, str(run.owner_id)[:8]) if url else str(run.owner_id)[:8]

    @admin.display(description="status", ordering="status")
    def coloured_status(self, run: Run) -> SafeString:
        return badge(run.status)

    @admin.display(description="progress")
    def progress_text(self, run: Run) -> str:
        share = run.progress.get("share")
        return f"{share:.0%}" if isinstance(share, int | float) else NONE

    @admin.display(description="created", ordering="created_at")
    def created(self, row: Run) -> str:
        return when(row.created_at)

    @admin.display(description="took")
    def took(self, run: Run) -> str:
        return duration(run.started_at, run.finished_at)

    @admin.display(description="progress")
    def progress_json(self, run: Run) -> SafeString:
        return pretty(run.progress)

    @admin.display(description="metrics")
    def metrics_json(self, run: Run) -> SafeString:
        return pretty(run.metrics)

    @admin.display(description="traceback")
    def traceback_text(self, run: Run) -> SafeString:
        return format_html('<pre class="ups-json">{}</pre>', run.traceback or NONE)
