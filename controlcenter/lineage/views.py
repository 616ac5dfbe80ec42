"""Read the lineage, as a graph and as OpenLineage events."""

import json
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import Model
from django.forms import ValidationError as FormError
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlcenter.lineage import queries
from controlcenter.lineage.openlineage import events
from controlcenter.lineage.serializers import LineageGraphSerializer
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.views import AnyAccept
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.accounts.viewsets import InWorkspace
from controlcenter.platform.common.api.filters import UtcField
from controlcenter.serving.profiles.models import Profile

NDJSON = "application/x-ndjson"
OF: dict[str, tuple[type[Model], str, Callable[[Any], queries.Lineage]]] = {
    "dataset": (Dataset, "pk", queries.of_dataset),
    "task": (Task, "pk", queries.of_task),
    "version": (ModelVersion, "pk", queries.of_version),
    "user": (Profile, "user_id", queries.of_user),
}
COMMON = {"workspace", "format"}


class LineageBase(InWorkspace, APIView):
    """One workspace; whoever may read may read where things come from."""

    roles = {"get": Role.VIEWER}
    query_parameters: frozenset[str] = frozenset()
    request: Request

    def params(self) -> dict[str, str]:
        """The query parameters but the common ones.

        Raises:
            ValidationError: if one is not known here.
        """
        given = {n: str(v) for n, v in self.request.query_params.items() if n not in COMMON}
        unknown = sorted(set(given) - self.query_parameters)
        if unknown:
            message = f"is not known here; known are {', '.join(sorted(self.query_parameters))}"
            raise ValidationError(dict.fromkeys(unknown, message))
        return given

    def find(self, model: type[Model], field: str, value: str) -> Any:
        """A row of the workspace.

        Raises:
            NotFound: if it is not there or not visible, which an answer does not tell apart.
        """
        rows: Any = model._default_manager
        visible = rows.visible_to(self.account).in_workspace(self.workspace)
        row = visible.filter(**{field: value}).first()
        if row is None:
            raise NotFound(f"No {model._meta.verbose_name} {value!r} that you can see.")
        return row


class LineageView(LineageBase):
    """What was made from what: datasets, graphs, model versions, evaluations, profiles."""

    query_parameters = frozenset(OF)

    @extend_schema(
        parameters=[
            OpenApiParameter("dataset", OpenApiTypes.UUID, description="Around this dataset."),
            OpenApiParameter("task", OpenApiTypes.UUID, description="Around what a task made."),
            OpenApiParameter("version", OpenApiTypes.UUID, description="Around a model version."),
            OpenApiParameter("user", str, description="What a user's profile was made from."),
        ],
        responses=LineageGraphSerializer,
    )
    def get(self, request: Request) -> Response:
        """Upstream and downstream of a dataset, a task, a version or a user; else of what is
        active. The parameters exclude each other."""
        given = self.params()
        if len(given) > 1:
            message = f"give one of them, got {', '.join(sorted(given))}"
            raise ValidationError(dict.fromkeys(given, message))
        for name, value in given.items():
            model, field, of = OF[name]
            key = uuid_of(name, value) if field == "pk" else value
            return Response(LineageGraphSerializer(of(self.find(model, field, key))).data)
        return Response(LineageGraphSerializer(queries.of_active(self.workspace.pk)).data)


class OpenLineageView(LineageBase):
    """Runs and tasks as OpenLineage events."""

    query_parameters = frozenset({"since", "after", "limit", "task"})
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="lineage_openlineage_retrieve",
        parameters=[
            OpenApiParameter(
                "since",
                OpenApiTypes.DATETIME,
                description="Only runs and tasks that began or ended since.",
            ),
            OpenApiParameter(
                "after", OpenApiTypes.UUID, description="With since: go on after this one."
            ),
            OpenApiParameter(
                "limit",
                int,
                description=f"Runs and tasks, {events.LIMIT} by default, at most "
                f"{events.MAX_LIMIT}.",
            ),
            OpenApiParameter("task", OpenApiTypes.UUID, description="Of one task alone."),
        ],
        responses={(200, NDJSON): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> HttpResponse:
        """OpenLineage events, one a line, the oldest runs first. While there are more, the header
        Link names the next page."""
        given = self.params()
        task = given.get("task")
        if task is not None:
            task = str(self.find(Task, "pk", uuid_of("task", task)).pk)
        page = events.page(
            self.workspace,
            since=time_of(given.get("since")),
            after=uuid.UUID(uuid_of("after", given["after"])) if "after" in given else None,
            task=task,
            limit=limit_of(given.get("limit")),
        )
        lines = "".join(f"{json.dumps(event)}\n" for event in page.events)
        response = HttpResponse(lines, content_type=NDJSON)
        if page.last is not None:
            following = given | {"since": page.last[0].isoformat(), "after": str(page.last[1])}
            following["workspace"] = self.workspace.slug
            url = request.build_absolute_uri(f"{request.path}?{urlencode(following)}")
            response["Link"] = f'<{url}>; rel="next"'
        return response


def uuid_of(name: str, value: str) -> str:
    """Raises: ValidationError if the value is no UUID."""
    try:
        return str(uuid.UUID(value))
    except ValueError as error:
        raise ValidationError({name: f"got {value!r}, expected a UUID"}) from error


def time_of(value: str | None) -> datetime | None:
    """Raises: ValidationError if the value is no time."""
    try:
        moment: datetime | None = UtcField(required=False).clean(value)
    except FormError as error:
        message = f"got {value!r}, expected ISO 8601 with a zone"
        raise ValidationError({"since": message}) from error
    return moment


def limit_of(value: str | None) -> int:
    """Raises: ValidationError if the value is out of range."""
    if value is None:
        return events.LIMIT
    if not value.isdecimal() or not 1 <= int(value) <= events.MAX_LIMIT:
        message = f"got {value!r}, expected 1 to {events.MAX_LIMIT}"
        raise ValidationError({"limit": message})
    return int(value)
