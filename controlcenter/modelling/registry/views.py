"""Model versions: read, promote, roll back."""

from typing import Any

from django.db.models import BooleanField, Exists, OuterRef, QuerySet
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from controlcenter.modelling.registry import services
from controlcenter.modelling.registry.models import ActiveVersion, ModelVersion
from controlcenter.modelling.registry.serializers import (
    ModelVersionDetailSerializer,
    ModelVersionSerializer,
    PromotedSerializer,
    ReasonSerializer,
)
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.accounts.viewsets import ReadViewSet


class ModelVersionViewSet(ReadViewSet):
    """Model versions with their metrics beside the baselines, lineage and files."""

    queryset = ModelVersion.objects.all()
    filterset_fields = ["number", "dataset", "task", "rule_revision", "schema_hash"]
    ordering_fields = ["number", "created_at"]
    roles = {"promote": Role.OPERATOR, "rollback": Role.OPERATOR}

    def get_queryset(self) -> QuerySet[Any]:
        active = ActiveVersion.objects.filter(version=OuterRef("pk"))
        validated = Cast(KT("metrics__score__validated"), BooleanField())
        queryset = super().get_queryset().annotate(active=Exists(active), validated=validated)
        return queryset.prefetch_related("files") if self.action == "retrieve" else queryset

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return ModelVersionDetailSerializer if self.action == "retrieve" else ModelVersionSerializer

    @extend_schema(request=ReasonSerializer, responses={202: PromotedSerializer})
    @action(detail=True, methods=["post"])
    def promote(self, request: Request, pk: str) -> Response:
        """Make this version active; rescoring follows."""
        version = self.get_object()
        task = services.promote(version=version, account=self.account, reason=self.reason())
        return self.promoted(version, task)

    @extend_schema(request=ReasonSerializer, responses={202: PromotedSerializer})
    @action(detail=False, methods=["post"])
    def rollback(self, request: Request) -> Response:
        """Back to the version before the active one; rescoring follows."""
        version, task = services.rollback(
            workspace=self.workspace, account=self.account, reason=self.reason()
        )
        return self.promoted(version, task)

    def reason(self) -> str:
        asked = ReasonSerializer(data=self.request.data)
        asked.is_valid(raise_exception=True)
        return str(asked.validated_data["reason"])

    @staticmethod
    def promoted(version: ModelVersion, task: Task) -> Response:
        body = {"active": version.pk, "number": version.number, "task": task.pk}
        return Response(PromotedSerializer(body).data, status=202)
