"""Upload, list, read, preview, report, lineage, delete; and synthesize."""

import json
from typing import Any, cast

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Prefetch
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from controlcenter.modelling.datasets import mapping_text, queries, services
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.datasets.serializers import (
    DatasetPreviewSerializer,
    DatasetSerializer,
    LineageSerializer,
    QualityReportSerializer,
    SynthesisSerializer,
    UploadNameSerializer,
    UploadSerializer,
)
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.accounts.viewsets import ReadViewSet
from controlcenter.platform.common.api.parsers import BoundedJSONParser, TooLarge


def mapping_of(request: Request) -> str:
    """The form's mapping, whether it was sent as a field or as a file."""
    form: Any = request.data
    given = form.get("mapping", "")
    if isinstance(given, UploadedFile):
        if (given.size or 0) > mapping_text.MAX_BYTES:
            raise ValidationError({"mapping": f"has {given.size} bytes, which is too large"})
        try:
            return given.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValidationError({"mapping": f"is not UTF-8 text: {error}"}) from error
    return given if isinstance(given, str) else json.dumps(given)


class DatasetViewSet(mixins.DestroyModelMixin, ReadViewSet):
    """The datasets of the workspace. An upload is checked in the background: follow ``state``."""

    queryset = Dataset.objects.select_related("created_by").prefetch_related(
        Prefetch("derived", Dataset.objects.only("source_id", "created_at"))
    )
    serializer_class = DatasetSerializer
    parser_classes = [MultiPartParser, BoundedJSONParser]
    filterset_fields = {
        "state": ["exact"],
        "name": ["exact", "icontains"],
        "created_at": ["gte", "lte"],
        "source": ["exact"],
    }
    ordering_fields = ["created_at", "name", "size"]
    roles = {
        "create": Role.OPERATOR,
        "synthesize": Role.OPERATOR,
        "destroy": Role.OPERATOR,
        "report": Role.VIEWER,
        "lineage": Role.VIEWER,
        "preview": Role.ANALYST,
    }

    @extend_schema(
        request={"multipart/form-data": UploadSerializer}, responses={201: DatasetSerializer}
    )
    def create(self, request: Request) -> Response:
        """Upload a dataset (streamed into the object store) and queue its validation."""
        source = request.FILES.get("file")
        if source is None:
            raise ValidationError({"file": "send a multipart form with the file in 'file'"})
        if (source.size or 0) > settings.UPLOAD_LIMIT_BYTES:
            raise TooLarge(
                f"The file has {source.size} bytes, at most {settings.UPLOAD_LIMIT_BYTES} are "
                "accepted: send Parquet or a zip."
            )
        form = UploadNameSerializer(data={"name": cast(Any, request.data).get("name", "")})
        form.is_valid(raise_exception=True)
        dataset = services.upload(
            workspace=self.workspace,
            account=self.account,
            source=source,
            filename=(source.name or services.NO_NAME)[-255:],
            name=form.validated_data["name"],
            mapping=mapping_text.read(mapping_of(request)),
        )
        return Response(DatasetSerializer(dataset).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=SynthesisSerializer, responses={202: DatasetSerializer})
    @action(detail=False, methods=["post"], parser_classes=[BoundedJSONParser])
    def synthesize(self, request: Request) -> Response:
        """Have a worker generate a synthetic telecom population."""
        serializer = SynthesisSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        config: dict[str, Any] = dict(serializer.validated_data)
        dataset = services.synthesize(
            workspace=self.workspace, account=self.account, name=config.pop("name"), config=config
        )
        return Response(DatasetSerializer(dataset).data, status=status.HTTP_202_ACCEPTED)

    def perform_destroy(self, instance: Dataset) -> None:
        services.delete(dataset=instance, account=self.account)

    @extend_schema(responses=QualityReportSerializer)
    @action(detail=True, filter_backends=[], pagination_class=None)
    def report(self, request: Request, pk: str) -> Response:
        """The quality report of the validation."""
        dataset = self.get_object()
        body = {
            "dataset": dataset.pk,
            "state": dataset.state,
            "error": dataset.error,
            "report": dataset.report,
        }
        return Response(QualityReportSerializer(body).data)

    @extend_schema(responses=LineageSerializer)
    @action(detail=True, filter_backends=[], pagination_class=None)
    def lineage(self, request: Request, pk: str) -> Response:
        """Its source, what was derived from it, and the tasks that used it."""
        return Response(LineageSerializer(queries.lineage(self.get_object())).data)

    @extend_schema(responses=DatasetPreviewSerializer)
    @action(detail=True, filter_backends=[], pagination_class=None)
    def preview(self, request: Request, pk: str) -> Response:
        """The first rows of each checked table."""
        return Response(DatasetPreviewSerializer(queries.preview(self.get_object())).data)
