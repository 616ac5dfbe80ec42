"""Create, read, change, fire and delete schedules."""

from typing import Any
from urllib.parse import urlencode

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from controlcenter.modelling.tasks.request_spec import DescribesTask
from controlcenter.modelling.tasks.views import KEY
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.accounts.viewsets import ReadViewSet
from controlcenter.platform.schedules import services
from controlcenter.platform.schedules.models import Schedule
from controlcenter.platform.schedules.serializers import (
    OWN_FIELDS,
    FireRequestSerializer,
    FireSerializer,
    NewScheduleSerializer,
    ScheduleDetailSerializer,
    ScheduleSerializer,
    representation,
)

WRITING = ("create", "update", "partial_update", "destroy", "fire")


class ScheduleViewSet(DescribesTask, ReadViewSet):
    """Tasks that are created again and again, at the times of a cron expression."""

    queryset = Schedule.objects.select_related("created_by")
    http_method_names = ["get", "post", "put", "patch", "delete", "head", "options"]
    filterset_fields = {"name": ["exact", "icontains"], "enabled": ["exact"], "dataset": ["exact"]}
    ordering_fields = ["name", "next_at", "created_at"]
    roles = {**dict.fromkeys(WRITING, Role.OPERATOR), "fires": Role.VIEWER}

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        if self.action in {"create", "update", "partial_update"}:
            return NewScheduleSerializer
        return ScheduleSerializer if self.action == "list" else ScheduleDetailSerializer

    @extend_schema(request=NewScheduleSerializer, responses={201: ScheduleDetailSerializer})
    def create(self, request: Request) -> Response:
        """Create a schedule; the first fire time is the first after now."""
        schedule = services.create(
            workspace=self.workspace, account=self.account, fields=self.columns(request.data)
        )
        query = urlencode({"workspace": self.workspace.slug})
        location = f"{request.path}{schedule.pk}/?{query}"
        return self.shown(schedule, status.HTTP_201_CREATED, headers={"Location": location})

    @extend_schema(request=NewScheduleSerializer, responses=ScheduleDetailSerializer)
    def update(self, request: Request, pk: str) -> Response:
        """Change a schedule; what was due before is decided before."""
        fields = self.columns(request.data)
        return self.shown(self.changed(self.get_object(), fields))

    @extend_schema(responses=ScheduleDetailSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change some fields (``parameters`` as a whole); ``enabled`` is its switch."""
        schedule = self.get_object()
        given = request.data
        if not isinstance(given, dict):
            raise ValidationError(f"got {type(given).__name__}, expected an object")
        fields = self.columns({**representation(schedule), **given})
        names = set(given)
        if names & {"workflow", "parameters"}:
            names.add("base_version")  # whether it needs one follows from these
        return self.shown(
            self.changed(schedule, {name: fields[name] for name in fields if name in names})
        )

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a schedule with the record of its fires; their tasks stay."""
        services.delete(schedule=self.get_object(), account=self.account)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        parameters=[KEY],
        request=FireRequestSerializer,
        responses={201: FireSerializer, 200: FireSerializer},
    )
    @action(detail=True, methods=["post"])
    def fire(self, request: Request, pk: str) -> Response:
        """Create its task now, by hand, whatever runs."""
        schedule = self.get_object()
        serializer = FireRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        fire, new = services.fire_now(
            schedule=schedule,
            account=self.account,
            reason=serializer.validated_data["reason"],
            key=self.idempotency_key(),
        )
        code = status.HTTP_201_CREATED if new else status.HTTP_200_OK
        return Response(FireSerializer(fire).data, status=code)

    @extend_schema(responses=FireSerializer(many=True))
    @action(detail=True, filter_backends=[])
    def fires(self, request: Request, pk: str) -> Response:
        """Every fire time that was decided, and its outcome, newest first."""
        page = self.paginate_queryset(self.get_object().fires.all())
        return self.get_paginated_response(FireSerializer(page, many=True).data)

    def columns(self, data: Any) -> dict[str, Any]:
        """What a request says, as columns of ``Schedule``.

        Raises:
            ValidationError: as for ``POST /api/v1/tasks/``.
            NotFound: for a dataset or a version that is not there, or not visible.
        """
        serializer = NewScheduleSerializer(data=data)
        serializer.is_valid(raise_exception=True)
        spec = self.spec(serializer.validated_data)
        own = {name: serializer.validated_data[name] for name in OWN_FIELDS}
        return own | {
            "workflow": spec.workflow,
            "dataset": spec.dataset,
            "base_version": spec.base_version,
            "parameters": spec.parameters,
            "priority": spec.priority,
        }

    def changed(self, schedule: Schedule, fields: dict[str, Any]) -> Schedule:
        return services.update(schedule=schedule, account=self.account, fields=fields)

    def shown(self, schedule: Schedule, code: int = 200, **more: Any) -> Response:
        return Response(ScheduleDetailSerializer(schedule).data, status=code, **more)
