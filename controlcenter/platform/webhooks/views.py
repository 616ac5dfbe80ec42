"""Webhooks, their secrets, and what became of their deliveries."""

from typing import Any

from django_filters.rest_framework import UUIDFilter
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from controlcenter.platform.accounts.access import role_in
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.accounts.viewsets import ReadViewSet
from controlcenter.platform.common.api.filters import PlainFilterSet
from controlcenter.platform.webhooks import services
from controlcenter.platform.webhooks.models import Delivery, Webhook
from controlcenter.platform.webhooks.serializers import (
    DeliverySerializer,
    NewWebhookSerializer,
    SecretSerializer,
    WebhookSerializer,
)

OWNERS = dict.fromkeys(["create", "update", "partial_update", "destroy", "rotate"], Role.OWNER)


class WebhookViewSet(mixins.UpdateModelMixin, mixins.DestroyModelMixin, ReadViewSet):
    """Addresses that are told of the transitions of tasks."""

    queryset = Webhook.objects.select_related("created_by", "workspace")
    serializer_class = WebhookSerializer
    http_method_names = ["get", "post", "put", "patch", "delete", "head", "options"]
    filterset_fields = {"name": ["exact", "icontains"], "enabled": ["exact"]}
    ordering_fields = ["created_at", "name", "failing_since"]
    roles = {**OWNERS, "test": Role.OPERATOR}

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "whole_url": self.is_owner()}

    def is_owner(self) -> bool:
        if getattr(self, "swagger_fake_view", False):
            return False
        return role_in(self.account, self.workspace) == Role.OWNER

    @extend_schema(request=WebhookSerializer, responses={201: NewWebhookSerializer})
    def create(self, request: Request) -> Response:
        """Add a webhook. The answer shows its secret, once."""
        given = self.get_serializer(data=request.data)
        given.is_valid(raise_exception=True)
        webhook, secret = services.create(
            workspace=self.workspace, account=self.account, fields=given.validated_data
        )
        body = self.get_serializer(webhook).data | {"secret": secret}
        return Response(body, status=status.HTTP_201_CREATED)

    def perform_update(self, serializer: BaseSerializer[Any]) -> None:
        assert isinstance(serializer.instance, Webhook)
        serializer.instance = services.update(
            webhook=serializer.instance, account=self.account, fields=serializer.validated_data
        )

    def perform_destroy(self, instance: Webhook) -> None:
        services.delete(webhook=instance, account=self.account)

    @extend_schema(request=None, responses=SecretSerializer)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """A new secret; for 24 hours deliveries carry signatures by both."""
        secret = services.rotate(webhook=self.get_object(), account=self.account)
        return Response({"secret": secret})

    @extend_schema(request=None, responses={202: DeliverySerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Send a ping; the answer is its delivery."""
        delivery = services.test(webhook=self.get_object(), account=self.account)
        return Response(DeliverySerializer(delivery).data, status=status.HTTP_202_ACCEPTED)


class DeliveryFilter(PlainFilterSet):
    """``task`` is the wire's name of what a delivery tells of."""

    task = UUIDFilter(field_name="subject_id")

    class Meta:
        model = Delivery
        fields = {
            "webhook": ["exact"],
            "status": ["exact", "in"],
            "created_at": ["gte", "lte"],
        }


class DeliveryViewSet(ReadViewSet):
    """What webhooks were told, or are to be; kept for 30 days."""

    queryset = Delivery.objects.select_related("webhook__workspace")
    serializer_class = DeliverySerializer
    filterset_class = DeliveryFilter
    ordering_fields = ["created_at", "last_attempt_at", "delivered_at", "attempts"]
    roles = {"replay": Role.OPERATOR}

    @extend_schema(request=None, responses={202: DeliverySerializer})
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: str) -> Response:
        """Send it once more: the same id, the same payload."""
        delivery = services.replay(delivery=self.get_object(), account=self.account)
        return Response(DeliverySerializer(delivery).data, status=status.HTTP_202_ACCEPTED)
