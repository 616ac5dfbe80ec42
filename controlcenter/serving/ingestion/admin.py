"""The switch of ingestion in the admin."""

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
from controlcenter.platform.common.formatting import badge
from controlcenter.serving.ingestion import services
from controlcenter.serving.ingestion.models import Ingestion


@admin.register(Ingestion)
class IngestionAdmin(ScopedAdmin):
    """Whether a workspace takes events. A workspace that is not listed was never stopped."""

    list_display = ("workspace", "state", "reason", "changed_by", "changed_at")
    list_filter = (WorkspaceFilter, "stopped")
    fields = ("workspace", "state", "reason", "changed_by", "changed_at")
    list_operations = (
        Operation(
            "stop", "Stop ingestion", "run_stop", Role.OWNER, WorkspaceReasonForm, danger=True,
            help="Senders are told to keep their events and send them again later.",
        ),
        Operation("start", "Start ingestion", "run_start", Role.OWNER, WorkspaceReasonForm),
    )  # fmt: skip

    @admin.display(description="state", ordering="stopped")
    def state(self, switch: Ingestion) -> SafeString:
        return badge("failed", "stopped") if switch.stopped else badge("active", "running")

    def run_stop(self, request: HttpRequest, row: None, data: dict[str, Any]) -> Done:
        return self.switch(request, data, stopped=True)

    def run_start(self, request: HttpRequest, row: None, data: dict[str, Any]) -> Done:
        return self.switch(request, data, stopped=False)

    @staticmethod
    def switch(request: HttpRequest, data: dict[str, Any], *, stopped: bool) -> Done:
        """Stop or start ingestion by the service."""
        services.switch_ingestion(
            workspace=data["workspace"],
            account=account_of(request),
            stopped=stopped,
            reason=data["reason"],
        )
        return Done(f"Ingestion of {data['workspace']} is {'stopped' if stopped else 'running'}.")
