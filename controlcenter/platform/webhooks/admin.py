"""Webhooks and their deliveries in the admin."""

from typing import Any

from django import forms
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
from controlcenter.platform.accounts.console.forms import ConfirmForm, ConsoleForm, workspace_field
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.common.formatting import NONE, badge, link, pretty, when
from controlcenter.platform.webhooks import services, subjects
from controlcenter.platform.webhooks.models import Delivery, DeliveryStatus, Webhook
from controlcenter.platform.webhooks.outbox import PING
from controlcenter.platform.webhooks.queries import origin

FIELDS = ("name", "url", "states", "enabled")
TONES = {
    DeliveryStatus.DELIVERED: "done",
    DeliveryStatus.PENDING: "pending",
    DeliveryStatus.FAILED: "failed",
    DeliveryStatus.DROPPED: "cancelled",
}


class WebhookForm(ConsoleForm):
    """Where to, and what for."""

    workspace = workspace_field()
    name = forms.CharField(max_length=100)
    url = forms.CharField(
        max_length=2000,
        label="URL",
        help_text="https://… or http://…, without user name and password",
        widget=forms.TextInput({"class": "vLargeTextField"}),
    )
    states = forms.MultipleChoiceField(
        choices=subjects.choices, required=False, help_text="None chosen: all."
    )
    enabled = forms.BooleanField(required=False, initial=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.row is not None:
            del self.fields["workspace"]
            for name in FIELDS:
                self.initial[name] = getattr(self.row, name)

    def clean_states(self) -> list[str]:
        return sorted(self.cleaned_data["states"])


@admin.register(Webhook)
class WebhookAdmin(ScopedAdmin):
    """Addresses that are told of the transitions of tasks. A secret is shown once."""

    list_display = ("name", "workspace", "host", "events", "enabled", "failing")
    list_filter = (WorkspaceFilter, "enabled")
    search_fields = ("name",)
    fields = (
        "workspace", "name", "host", "events", "enabled", "failing", "created_by", "rotated_at",
    )  # fmt: skip
    list_operations = (Operation("add", "Add webhook", "run_add", Role.OWNER, WebhookForm),)
    operations = (
        Operation("edit", "Change the webhook", "run_edit", Role.OWNER, WebhookForm),
        Operation(
            "test", "Send a ping", "run_test", Role.OPERATOR,
            offered=lambda webhook: webhook.enabled,
        ),
        Operation(
            "rotate", "New secret", "run_rotate", Role.OWNER, ConfirmForm, danger=True,
            help="For 24 hours deliveries are signed with the old one too.",
        ),
        Operation(
            "delete", "Delete", "run_delete", Role.OWNER, ConfirmForm, danger=True,
            help="Its deliveries go with it.",
        ),
    )  # fmt: skip
    edit_operation = "edit"

    @admin.display(description="host")
    def host(self, webhook: Webhook) -> str:
        return origin(webhook.url)

    @admin.display(description="told of")
    def events(self, webhook: Webhook) -> str:
        return ", ".join(webhook.states) or "all states"

    @admin.display(description="failing since", ordering="failing_since")
    def failing(self, webhook: Webhook) -> SafeString | str:
        return badge("failed", when(webhook.failing_since)) if webhook.failing_since else "–"

    def run_add(self, request: HttpRequest, row: None, data: dict[str, Any]) -> Done:
        webhook, secret = services.create(
            workspace=data["workspace"],
            account=account_of(request),
            fields={name: data[name] for name in FIELDS},
        )
        message = f"Webhook {webhook}: {secret}  Copy the secret now, it is shown this once."
        return Done(message, self.list_url())

    def run_edit(self, request: HttpRequest, row: Webhook, data: dict[str, Any]) -> Done:
        fields = {name: data[name] for name in FIELDS}
        services.update(webhook=row, account=account_of(request), fields=fields)
        return Done(f"Webhook {row} is saved.", self.list_url())

    def run_test(self, request: HttpRequest, row: Webhook, data: dict[str, Any]) -> Done:
        delivery = services.test(webhook=row, account=account_of(request))
        return Done(f"A ping is on its way: delivery {delivery.pk}.", self.list_url())

    def run_rotate(self, request: HttpRequest, row: Webhook, data: dict[str, Any]) -> Done:
        secret = services.rotate(webhook=row, account=account_of(request))
        message = f"Webhook {row}: {secret}  Copy the secret now, it is shown this once."
        return Done(message, self.list_url())

    def run_delete(self, request: HttpRequest, row: Webhook, data: dict[str, Any]) -> Done:
        services.delete(webhook=row, account=account_of(request))
        return Done(f"Webhook {row} is deleted.", self.list_url())


@admin.register(Delivery)
class DeliveryAdmin(ScopedAdmin):
    """What webhooks were told, or are to be. A replay has the same id and the same payload."""

    list_display = ("id", "webhook", "what", "state", "attempts", "last_error", "created_at")
    list_filter = (WorkspaceFilter, "status", "created_at")
    list_select_related = ("webhook__workspace",)
    search_fields = ("id", "webhook__name", "subject_id")
    fields = (
        "id", "webhook", "about", "state", "attempts", "available_at", "last_status_code",
        "last_error", "created_at", "first_attempt_at", "last_attempt_at", "delivered_at",
        "payload_text",
    )  # fmt: skip
    operations = (
        Operation(
            "replay", "Send again", "run_replay", Role.OPERATOR, bulk=True,
            offered=lambda delivery: delivery.status != DeliveryStatus.PENDING,
        ),
    )  # fmt: skip

    @admin.display(description="what")
    def what(self, delivery: Delivery) -> str:
        data, subject = delivery.payload.get("data", {}), subject_of(delivery)
        return subject.describe(data) if subject else data.get("name", PING)

    @admin.display(description="task")
    def about(self, delivery: Delivery) -> SafeString | str:
        subject = subject_of(delivery)
        if subject is None or delivery.subject_id is None:
            return NONE
        url = subject.url(delivery.subject_id)
        text = subject.describe(delivery.payload.get("data", {}))
        return link(url, text) if url else text

    @admin.display(description="status", ordering="status")
    def state(self, delivery: Delivery) -> SafeString:
        return badge(TONES[DeliveryStatus(delivery.status)], delivery.status)

    @admin.display(description="payload")
    def payload_text(self, delivery: Delivery) -> SafeString:
        return pretty(delivery.payload)

    def run_replay(self, request: HttpRequest, row: Delivery, data: dict[str, Any]) -> Done:
        services.replay(delivery=row, account=account_of(request))
        return Done(f"Delivery {row.pk} is sent again.")


def subject_of(delivery: Delivery) -> subjects.Subject | None:
    return subjects.get(delivery.payload.get("type", ""))
