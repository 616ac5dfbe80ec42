"""The incremental refresh in the admin: how far it is, and its switch."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from controlcenter.platform.accounts.console import (
    Done,
    Operation,
    ScopedAdmin,
    WorkspaceFilter,
    account_of,
)
from controlcenter.platform.accounts.console.forms import WorkspaceReasonForm
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.common.formatting import badge, pretty
from controlcenter.serving.incremental import services
from controlcenter.serving.incremental.models import Loop


@admin.register(Loop)
class LoopAdmin(ScopedAdmin):
    """Scores that follow the events. A workspace is listed from its first refresh on."""

    list_display = ("workspace", "state", "version", "seen_at", "stale_since", "trouble")
    list_filter = (WorkspaceFilter, "wanted")
    list_select_related = ("workspace", "version")
    fieldsets = (
        (None, {"fields": ("workspace", "state", "trouble", "changed_by", "changed_at")}),
        (
            "How far it is",
            {
                "fields": (
                    "version", "seen_at", "stale_since", "backlog_text", "events", "edges",
                    "ticks", "epoch",
                )
            },
        ),
        (
            "What it can be trusted with",
            {"fields": ("audit_at", "audit_rows", "audit_error", "checkpoint_at", "checkpoint")},
        ),
    )  # fmt: skip
    list_operations = (
        Operation(
            "start", "Start", "run_start", Role.OPERATOR, WorkspaceReasonForm,
            help="Scores follow the events from now on; a worker takes it up.",
        ),
        Operation(
            "stop", "Stop", "run_stop", Role.OPERATOR, WorkspaceReasonForm, danger=True,
            help="Scores stay as they are until it is started, or a task refreshes them.",
        ),
    )  # fmt: skip

    @admin.display(description="state", ordering="wanted")
    def state(self, loop: Loop) -> SafeString:
        if not loop.wanted:
            return badge("failed") if loop.trouble else badge("off")
        return badge("running") if loop.serving else badge("starting")

    @admin.display(description="backlog")
    def backlog_text(self, loop: Loop) -> SafeString:
        return pretty(loop.backlog)

    def run_start(self, request: HttpRequest, row: None, data: dict[str, Any]) -> Done:
        services.start(
            workspace=data["workspace"], account=account_of(request), reason=data["reason"]
        )
        return Done(f"The incremental refresh of {data['workspace']} starts.")

    def run_stop(self, request: HttpRequest, row: None, data: dict[str, Any]) -> Done:
        services.stop(
            workspace=data["workspace"], account=account_of(request), reason=data["reason"]
        )
        return Done(f"The incremental refresh of {data['workspace']} ends.")
