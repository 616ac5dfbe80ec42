"""Ingest events. Reading them is the log's."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from controlcenter.platform.accounts.models import Role
from controlcenter.platform.common.api.parsers import BoundedJSONParser, LinesParser
from controlcenter.platform.log.views import LogViewSet
from controlcenter.serving.ingestion import services
from controlcenter.serving.ingestion.serializers import EnvelopeSerializer, ReceiptSerializer

ONE_OR_MANY = PolymorphicProxySerializer(
    component_name="EventOrEvents",
    serializers=[EnvelopeSerializer, EnvelopeSerializer(many=True)],
    resource_type_field_name=None,
    many=False,
)


class EventViewSet(LogViewSet):
    """The event log of the workspace, and what enters it."""

    parser_classes = [BoundedJSONParser, LinesParser]
    roles = {"create": Role.OPERATOR}

    @extend_schema(
        request={
            "application/json": ONE_OR_MANY,
            "application/x-ndjson": OpenApiTypes.STR,
        },
        responses={200: ReceiptSerializer},
    )
    def create(self, request: Request) -> Response:
        """Ingest one event, a list (JSON) or lines (NDJSON). Sending twice is harmless."""
        events = request.data if isinstance(request.data, list) else [request.data]
        receipt = services.ingest(workspace=self.workspace, events=events)
        return Response(ReceiptSerializer(receipt).data, status=status.HTTP_200_OK)
