"""Create, read and change schedules of tasks."""

import uuid
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django_filters.rest_framework import UUIDFilter
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from controlcenter.modelling.task_schedules.action import TASKS, describe
from controlcenter.modelling.task_schedules.serializers import (
    TASK_FIELDS,
    NewScheduleSerializer,
    ScheduleDetailSerializer,
    ScheduleSerializer,
    representation,
)
from controlcenter.modelling.tasks.spec.request_spec import DescribesTask
from controlcenter.platform.common.api.filters import PlainFilterSet
from controlcenter.platform.schedules import services
from controlcenter.platform.schedules.models import Schedule
from controlcenter.platform.schedules.serializers import OWN_FIELDS
from controlcenter.platform.schedules.views import FiringViewSet


class ScheduleFilter(PlainFilterSet):
    dataset = UUIDFilter(method="with_dataset")

    class Meta:
        model = Schedule
        fields = {"name": ["exact", "icontains"], "enabled": ["exact"]}

    def with_dataset(
        self, queryset: QuerySet[Schedule], name: str, value: uuid.UUID
    ) -> QuerySet[Schedule]:
        return queryset.filter(spec__dataset=str(value))


class ScheduleViewSet(DescribesTask, FiringViewSet):
    """Tasks that are created again and again, at the times of a cron expression."""

    queryset = Schedule.objects.filter(action=TASKS.name).select_related("created_by")
    http_method_names = ["get", "post", "put", "patch", "delete", "head", "options"]
    filterset_class = ScheduleFilter
    ordering_fields = ["name", "next_at", "created_at"]

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        if self.action in {"create", "update", "partial_update"}:
            return NewScheduleSerializer
        return ScheduleSerializer if self.action == "list" else ScheduleDetailSerializer

    @extend_schema(request=NewScheduleSerializer, responses={201: ScheduleDetailSerializer})
    def create(self, request: Request) -> Response:
        """Create a schedule; the first fire time is the first after now."""
        schedule = services.create(
            workspace=self.workspace,
            account=self.account,
            fields=self.columns(request.data) | {"action": TASKS.name},
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
        change = {name: fields[name] for name in OWN_FIELDS if name in names}
        change["spec"] = {name: fields["spec"][name] for name in TASK_FIELDS if name in names}
        return self.shown(self.changed(schedule, change))

    def columns(self, data: Any) -> dict[str, Any]:
        """What a request says, as columns of ``Schedule``.

        Raises:
            ValidationError: as for ``POST /api/v1/tasks/``.
            NotFound: for a dataset or a version that is not there, or not visible.
        """
        serializer = NewScheduleSerializer(data=data)
        serializer.is_valid(raise_exception=True)
        own = {name: serializer.validated_data[name] for name in OWN_FIELDS}
        return own | {"spec": describe(self.spec(serializer.validated_data))}

    def changed(self, schedule: Schedule, fields: dict[str, Any]) -> Schedule:
        return services.update(schedule=schedule, account=self.account, fields=fields)

    def shown(self, schedule: Schedule, code: int = 200, **more: Any) -> Response:
        return Response(ScheduleDetailSerializer(schedule).data, status=code, **more)
