"""Read model versions."""

from typing import Any

from django.db.models import BooleanField, Exists, OuterRef, QuerySet
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django_filters import UUIDFilter
from rest_framework.serializers import BaseSerializer

from controlcenter.modelling.registry.models import ActiveVersion, ModelVersion
from controlcenter.modelling.registry.serializers import (
    ModelVersionDetailSerializer,
    ModelVersionSerializer,
)
from controlcenter.platform.accounts.viewsets import ReadViewSet
from controlcenter.platform.common.api.filters import PlainFilterSet


class ModelVersionFilter(PlainFilterSet):
    task = UUIDFilter(field_name="task_id")

    class Meta:
        model = ModelVersion
        fields = ["number", "dataset", "task", "rule_revision", "schema_hash"]


class ModelVersionViewSet(ReadViewSet):
    """Model versions with their metrics beside the baselines, lineage and files."""

    queryset = ModelVersion.objects.all()
    filterset_class = ModelVersionFilter
    ordering_fields = ["number", "created_at"]

    def get_queryset(self) -> QuerySet[Any]:
        active = ActiveVersion.objects.filter(version=OuterRef("pk"))
        validated = Cast(KT("metrics__score__validated"), BooleanField())
        queryset = super().get_queryset().annotate(active=Exists(active), validated=validated)
        return queryset.prefetch_related("files") if self.action == "retrieve" else queryset

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return ModelVersionDetailSerializer if self.action == "retrieve" else ModelVersionSerializer
