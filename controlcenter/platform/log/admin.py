"""The event log and its consumers' positions in the admin, for reading."""

from django.contrib import admin
from django.utils.safestring import SafeString

from controlcenter.platform.accounts.console import ScopedAdmin, WorkspaceFilter
from controlcenter.platform.common.formatting import pretty
from controlcenter.platform.log.models import ConsumerPosition, Event


@admin.register(Event)
class EventAdmin(ScopedAdmin):
    """Facts with a time, in the order they came in. They are never changed.

    An event without an actor is outside the graph.
    """

    list_display = ("event_id", "workspace", "type", "actor", "target", "timestamp", "received_at")
    list_filter = (WorkspaceFilter,)
    search_fields = ("actor__exact", "target__exact")
    search_help_text = "Exact id of the actor or the target."
    ordering = ("-id",)
    sortable_by = ()
    fields = (
        "workspace", "event_id", "source", "type", "timestamp", "actor", "target", "target_type",
        "payload_text", "meta_text", "received_at",
    )  # fmt: skip

    @admin.display(description="payload")
    def payload_text(self, event: Event) -> SafeString:
        return pretty(event.payload)

    @admin.display(description="meta")
    def meta_text(self, event: Event) -> SafeString:
        return pretty(event.meta)


@admin.register(ConsumerPosition)
class ConsumerPositionAdmin(ScopedAdmin):
    """Up to when each consumer that reads the log by itself has read it."""

    list_display = ("consumer", "workspace", "at")
    list_filter = (WorkspaceFilter,)
    fields = ("consumer", "workspace", "at", "snapshot")
