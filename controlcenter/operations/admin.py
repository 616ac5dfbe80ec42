"""The audit in the admin, for reading. (It stands on the ground floor, which knows no roles.)"""

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString

from controlcenter.platform.accounts.console import ScopedAdmin, WorkspaceFilter
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.common.formatting import pretty, when

admin.site.site_header = "User Profile System"
admin.site.site_title = "User Profile System"
admin.site.index_title = "Console"
admin.site.index_template = "admin/ups/dashboard.html"


@admin.register(AuditEntry)
class AuditEntryAdmin(ScopedAdmin):
    """Who did what, append-only. Owners read it."""

    view_role = Role.OWNER
    list_display = ("moment", "workspace", "actor", "action", "target_type", "target_id")
    list_filter = (WorkspaceFilter, "at")
    search_fields = ("actor__exact", "action__startswith", "target_id__exact")
    search_help_text = "An actor, the beginning of an action, or a target's id."
    fields = (
        "at", "workspace", "actor", "action", "target_type", "target_id", "details_text",
        "request_id",
    )  # fmt: skip

    @admin.display(description="when", ordering="at")
    def moment(self, entry: AuditEntry) -> str:
        return when(entry.at)

    @admin.display(description="details")
    def details_text(self, entry: AuditEntry) -> SafeString:
        return pretty(entry.details)

    def may_see_history(self, request: Any, row: Any) -> bool:
        return False
