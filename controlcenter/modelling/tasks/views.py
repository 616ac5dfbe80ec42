"""Create, follow, start and cancel tasks."""

from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from controlcenter.modelling.tasks import services
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.serializers import (
    NewTaskSerializer,
    RunSerializer,
    TaskDetailSerializer,
    TaskSerializer,
    TransitionSerializer,
)
from controlcenter.modelling.tasks.spec.request_spec import DescribesTask
from controlcenter.modelling.tasks.stream import stream
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.accounts.viewsets import ReadViewSet
from controlcenter.platform.common.api.idempotency import KEY, idempotency_key


class AnyAccept(BaseContentNegotiation):
    """Takes the first renderer whatever the client accepts (``text/event-stream``)."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class TaskViewSet(DescribesTask, ReadViewSet):
    """The tasks of the workspace; one runs at a time, others wait their turn."""

    queryset = Task.objects.select_related("created_by").prefetch_related("runs")
    filterset_fields = {
        "state": ["exact", "in"],
        "workflow": ["exact"],
        "dataset": ["exact"],
        "created_at": ["gte", "lte"],
    }
    ordering_fields = ["created_at", "started_at", "finished_at", "priority", "state"]
    roles = {
        "create": Role.OPERATOR,
        "start": Role.OPERATOR,
        "cancel": Role.OPERATOR,
        "suspend": Role.OPERATOR,
        "resume": Role.OPERATOR,
        "retry": Role.OPERATOR,
        "executions": Role.VIEWER,
        "transitions": Role.VIEWER,
        "events": Role.VIEWER,
    }

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        if self.action == "create":
            return NewTaskSerializer
        return TaskSerializer if self.action == "list" else TaskDetailSerializer

    @extend_schema(
        parameters=[KEY],
        request=NewTaskSerializer,
        responses={201: TaskDetailSerializer, 200: TaskDetailSerializer},
    )
    def create(self, request: Request) -> Response:
        """Create a task and (unless ``start`` is false) queue it."""
        serializer = NewTaskSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        task, new = services.create(
            workspace=self.workspace,
            account=self.account,
            spec=self.spec(serializer.validated_data),
            key=idempotency_key(request),
        )
        body = TaskDetailSerializer(self.get_queryset().get(pk=task.pk)).data
        query = urlencode({"workspace": self.workspace.slug})
        location = f"{request.path}{task.pk}/?{query}"
        code = status.HTTP_201_CREATED if new else status.HTTP_200_OK
        return Response(body, status=code, headers={"Location": location})

    @extend_schema(request=None, responses=TaskDetailSerializer)
    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: str) -> Response:
        """Queue a task that was created with ``start: false``."""
        return self.shown(services.start(task=self.get_object(), account=self.account))

    @extend_schema(request=None, responses=TaskDetailSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel: at once when nothing runs, else within seconds, by force after a minute."""
        return self.shown(services.cancel(task=self.get_object(), account=self.account))

    @extend_schema(request=None, responses=TaskDetailSerializer)
    @action(detail=True, methods=["post"])
    def suspend(self, request: Request, pk: str) -> Response:
        """Suspend: the worker keeps what it has and gives the run back within seconds."""
        return self.shown(services.suspend(task=self.get_object(), account=self.account))

    @extend_schema(request=None, responses=TaskDetailSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Queue a suspended task again; it goes on from its checkpoint."""
        return self.shown(services.resume(task=self.get_object(), account=self.account))

    @extend_schema(request=None, responses={201: TaskDetailSerializer})
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """A new task for one that failed or was cancelled; it takes over the finished stages."""
        task = services.retry(task=self.get_object(), account=self.account)
        return self.shown(task, code=status.HTTP_201_CREATED)

    def shown(self, task: Task, code: int = status.HTTP_200_OK) -> Response:
        """The answer with the task as it is now."""
        fresh: QuerySet[Task] = self.get_queryset()
        return Response(TaskDetailSerializer(fresh.get(pk=task.pk)).data, status=code)

    @extend_schema(responses=RunSerializer(many=True))
    @action(detail=True, filter_backends=[], pagination_class=None)
    def executions(self, request: Request, pk: str) -> Response:
        """Every attempt at every stage, oldest first."""
        return Response(RunSerializer(self.get_object().runs.all(), many=True).data)

    @extend_schema(responses=TransitionSerializer(many=True))
    @action(detail=True, filter_backends=[], pagination_class=None)
    def transitions(self, request: Request, pk: str) -> Response:
        """Every edge that was taken: who, why, when."""
        return Response(TransitionSerializer(self.get_object().transitions.all(), many=True).data)

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "Last-Event-ID", int, OpenApiParameter.HEADER, description="Go on after this one."
            )
        ],
        responses={(200, "text/event-stream"): OpenApiTypes.STR},
    )
    @action(
        detail=True,
        filter_backends=[],
        pagination_class=None,
        content_negotiation_class=AnyAccept,
    )
    def events(self, request: Request, pk: str) -> StreamingHttpResponse:
        """A live stream (SSE) of states and progress; ends with the task."""
        task = self.get_object()
        last = request.headers.get("Last-Event-ID", "0")
        if not last.isdecimal():
            raise ValidationError({"Last-Event-ID": f"got {last!r}, expected a whole number"})
        response = StreamingHttpResponse(
            stream(task.pk, int(last)), content_type="text/event-stream"
        )
        response["Cache-Control"] = "no-cache"
        response["X-Accel-Buffering"] = "no"
        return response
