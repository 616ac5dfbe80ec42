"""Read evaluation reports."""

from typing import Any

from django.db.models import QuerySet
from rest_framework.serializers import BaseSerializer

from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.evaluations.queries import SCORE_VALIDATED
from controlcenter.modelling.evaluations.serializers import (
    EvaluationDetailSerializer,
    EvaluationSerializer,
)
from controlcenter.platform.accounts.viewsets import ReadViewSet


class EvaluationViewSet(ReadViewSet):
    """Reports of evaluated versions: one an iteration of a task, the newest first."""

    queryset = EvaluationReport.objects.all()
    filterset_fields = ["task", "iteration", "model_version"]
    ordering_fields = ["created_at", "iteration"]

    def get_queryset(self) -> QuerySet[Any]:
        queryset = super().get_queryset().annotate(score_validated=SCORE_VALIDATED)
        return queryset if self.action == "retrieve" else queryset.defer("report")

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return EvaluationDetailSerializer if self.action == "retrieve" else EvaluationSerializer
