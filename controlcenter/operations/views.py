"""Health for machines; status, switches and the audit for operators."""

import hmac
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from drf_spectacular.utils import extend_schema
from rest_framework import mixins
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlcenter.modelling.tasks.serializers import TaskSerializer
from controlcenter.operations import health, incremental, prometheus, queries, resources, services
from controlcenter.operations.serializers import (
    AuditEntrySerializer,
    ClearedSerializer,
    FusionTrainingSerializer,
    IncrementalSerializer,
    ResourcesSerializer,
    StatusSerializer,
    SwitchedSerializer,
    SwitchSerializer,
    ToggleSerializer,
    TrainingSerializer,
)
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.accounts.viewsets import InWorkspace, ScopedViewSet
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.common.api.problems import MEDIA_TYPE, problem
from controlcenter.serving.incremental import services as loops
from controlcenter.serving.ingestion import services as events
from controlcenter.serving.profiles import explanations


def livez(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    """All parts that requests need are there; 503 with the reasons otherwise."""
    return health_answer()


def health_view(request: HttpRequest) -> JsonResponse:
    """The same as a report: which part is well, which is not, and why."""
    return health_answer()


def health_answer() -> JsonResponse:
    """Every check, with 503 if one of them failed."""
    checks = health.check_all()
    ok = all(check.ok for check in checks)
    body = {"ok": ok, "checks": [vars(check) for check in checks]}
    return JsonResponse(body, status=200 if ok else 503)


def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format; asks for ``UPS_METRICS_TOKEN`` where one is set."""
    if settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), settings.METRICS_TOKEN.encode()):
            body = problem(401, "Send Authorization: Bearer with UPS_METRICS_TOKEN.")
            return JsonResponse(body, status=401, content_type=MEDIA_TYPE)
    return HttpResponse(prometheus.render(), content_type="text/plain; version=0.0.4")


class OperationView(InWorkspace, APIView):
    """Base: one workspace, roles by method."""

    roles: dict[str, Role] = {}
    request: Request

    def validated(self, serializer_class: type[Any]) -> dict[str, Any]:
        """The body of the request as a serializer leaves it.

        Raises:
            ValidationError: where it does not fit.
        """
        serializer = serializer_class(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


class StatusView(OperationView):
    """The workspace at a glance."""

    roles = {"get": Role.VIEWER}

    @extend_schema(responses=StatusSerializer)
    def get(self, request: Request) -> Response:
        """Tasks, runs, events, users and the active model version."""
        return Response(StatusSerializer(queries.status(self.workspace)).data)


class ResourcesView(OperationView):
    """The machine."""

    roles = {"get": Role.VIEWER}

    @extend_schema(responses=ResourcesSerializer)
    def get(self, request: Request) -> Response:
        """CPU, memory and GPU of the machine that answers."""
        return Response(ResourcesSerializer(resources.snapshot()).data)


class IngestionStopView(OperationView):
    """The switch of ingestion."""

    roles = {"post": Role.OWNER}
    stopped = True

    @extend_schema(request=SwitchSerializer, responses=SwitchedSerializer)
    def post(self, request: Request) -> Response:
        """Switch ingestion of the workspace, with a reason."""
        switch = events.switch_ingestion(
            workspace=self.workspace,
            account=self.account,
            stopped=self.stopped,
            reason=self.validated(SwitchSerializer)["reason"],
        )
        return Response(SwitchedSerializer(switch).data)


class IngestionStartView(IngestionStopView):
    """The switch of ingestion, the other way."""

    stopped = False


class IncrementalView(OperationView):
    """The incremental refresh."""

    roles = {"get": Role.VIEWER}

    @extend_schema(responses=IncrementalSerializer)
    def get(self, request: Request) -> Response:
        """How far the loop is that keeps scores fresh, and what is stale."""
        return Response(IncrementalSerializer(incremental.state(self.workspace)).data)


class IncrementalStartView(OperationView):
    """The switch of the incremental refresh."""

    roles = {"post": Role.OPERATOR}

    @extend_schema(request=ToggleSerializer, responses={202: IncrementalSerializer})
    def post(self, request: Request) -> Response:
        """Have scores follow the events; a worker takes it up. Starting twice is harmless."""
        reason = self.validated(ToggleSerializer)["reason"]
        loops.start(workspace=self.workspace, account=self.account, reason=reason)
        return Response(IncrementalSerializer(incremental.state(self.workspace)).data, status=202)


class IncrementalStopView(OperationView):
    """The switch of the incremental refresh, the other way."""

    roles = {"post": Role.OPERATOR}

    @extend_schema(request=ToggleSerializer, responses={202: IncrementalSerializer})
    def post(self, request: Request) -> Response:
        """Have the loop end; its worker hands it back once its states are stored."""
        reason = self.validated(ToggleSerializer)["reason"]
        loops.stop(workspace=self.workspace, account=self.account, reason=reason)
        return Response(IncrementalSerializer(incremental.state(self.workspace)).data, status=202)


class FusionTrainingView(OperationView):
    """Train the fusion alone."""

    roles = {"post": Role.OPERATOR}

    @extend_schema(request=FusionTrainingSerializer, responses={202: TaskSerializer})
    def post(self, request: Request) -> Response:
        """A task of the workflow ``fusion`` on the active version."""
        task = services.train_fusion(
            workspace=self.workspace,
            account=self.account,
            overrides=self.validated(FusionTrainingSerializer),
        )
        return Response(TaskSerializer(task).data, status=202)


class NetworkTrainingView(OperationView):
    """Train the network."""

    roles = {"post": Role.OPERATOR}

    @extend_schema(request=TrainingSerializer, responses={202: TaskSerializer})
    def post(self, request: Request) -> Response:
        """A task of the workflow ``refresh`` that trains everything anew."""
        task = services.train_network(
            workspace=self.workspace,
            account=self.account,
            overrides=self.validated(TrainingSerializer),
        )
        return Response(TaskSerializer(task).data, status=202)


class RuleRefreshView(OperationView):
    """Score with the present rules."""

    roles = {"post": Role.OPERATOR}

    @extend_schema(request=None, responses={202: TaskSerializer})
    def post(self, request: Request) -> Response:
        """A task that fuses the present rules with the active version and rescores."""
        task = services.train_fusion(workspace=self.workspace, account=self.account, overrides={})
        return Response(TaskSerializer(task).data, status=202)


class ExplanationClearView(OperationView):
    """Forget cached explanations."""

    roles = {"post": Role.OPERATOR}

    @extend_schema(request=None, responses=ClearedSerializer)
    def post(self, request: Request) -> Response:
        """Delete the workspace's cached explanations; they are computed anew when asked for."""
        deleted = explanations.clear(workspace=self.workspace, account=self.account)
        return Response(ClearedSerializer({"deleted": deleted}).data)


class AuditViewSet(mixins.ListModelMixin, ScopedViewSet):
    """Who did what in the workspace, newest first."""

    queryset = AuditEntry.objects.all()
    serializer_class = AuditEntrySerializer
    filterset_fields = {
        "actor": ["exact"],
        "action": ["exact", "startswith"],
        "target_id": ["exact"],
        "at": ["gte", "lte"],
    }
    ordering_fields = ["id", "at"]
    roles = {"list": Role.OWNER}
