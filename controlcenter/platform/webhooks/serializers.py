"""Webhooks and deliveries on the wire. A secret is in no answer but the first."""

from typing import Any

from rest_framework import serializers

from controlcenter.platform.common.api.serializers import Strict
from controlcenter.platform.webhooks import subjects
from controlcenter.platform.webhooks.models import Delivery, Webhook
from controlcenter.platform.webhooks.queries import origin


class EventsField(serializers.ListField):
    """Names of events; which there are is looked up whenever a serializer is made."""

    def __init__(self, **more: Any) -> None:
        names = subjects.choices()
        child = serializers.ChoiceField(choices=names)
        super().__init__(child=child, max_length=len(names), **more)


class WebhookSerializer(Strict, serializers.ModelSerializer[Webhook]):
    """The path of the URL is shown to owners alone: receivers put secrets into it."""

    url = serializers.CharField(
        max_length=2000,
        help_text="http or https, without user name and password. Its path is shown to owners.",
    )
    states = EventsField(required=False, help_text="States whose entering is told; empty: all.")
    created_by = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)

    class Meta:
        model = Webhook
        fields = [
            "id",
            "name",
            "url",
            "states",
            "enabled",
            "failing_since",
            "rotated_at",
            "created_by",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["failing_since", "rotated_at", "created_at", "updated_at"]

    def validate_states(self, given: list[str]) -> list[str]:
        return sorted(set(given))

    def to_representation(self, webhook: Webhook) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(webhook)
        if not self.context.get("whole_url"):
            shown["url"] = origin(webhook.url)
        return shown


class NewWebhookSerializer(WebhookSerializer):
    """With its secret, which is shown this once."""

    secret = serializers.CharField(read_only=True, help_text="Verifies signatures; keep it.")

    class Meta(WebhookSerializer.Meta):
        fields = [*WebhookSerializer.Meta.fields, "secret"]


class SecretSerializer(serializers.Serializer[Any]):
    secret = serializers.CharField(help_text="Shown this once.")


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """One transition for one webhook; ``id`` is the receiver's idempotency key."""

    webhook_name = serializers.CharField(source="webhook.name")
    task = serializers.UUIDField(
        source="subject_id", required=False, allow_null=True, help_text="Null: ping."
    )
    transition = serializers.IntegerField(source="event_id", required=False, allow_null=True)
    payload = serializers.DictField(help_text="The body: type, timestamp, data.")

    class Meta:
        model = Delivery
        fields = [
            "id",
            "webhook",
            "webhook_name",
            "task",
            "transition",
            "payload",
            "status",
            "attempts",
            "available_at",
            "last_status_code",
            "last_error",
            "created_at",
            "first_attempt_at",
            "last_attempt_at",
            "delivered_at",
        ]
