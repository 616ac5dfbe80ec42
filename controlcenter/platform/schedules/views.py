"""Fire and delete schedules, and read what became of their fires."""

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from controlcenter.platform.accounts.models import Role
from controlcenter.platform.accounts.viewsets import ReadViewSet
from controlcenter.platform.common.api.idempotency import KEY, idempotency_key
from controlcenter.platform.schedules import services
from controlcenter.platform.schedules.serializers import FireRequestSerializer, FireSerializer

WRITING = ("create", "update", "partial_update", "destroy", "fire")


class FiringViewSet(ReadViewSet):
    """Base of the schedules of one action: the room of the action reads and writes its specs."""

    roles = {**dict.fromkeys(WRITING, Role.OPERATOR), "fires": Role.VIEWER}

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
            key=idempotency_key(request),
        )
        code = status.HTTP_201_CREATED if new else status.HTTP_200_OK
        return Response(FireSerializer(fire).data, status=code)

    @extend_schema(responses=FireSerializer(many=True))
    @action(detail=True, filter_backends=[])
    def fires(self, request: Request, pk: str) -> Response:
        """Every fire time that was decided, and its outcome, newest first."""
        page = self.paginate_queryset(self.get_object().fires.all())
        return self.get_paginated_response(FireSerializer(page, many=True).data)
