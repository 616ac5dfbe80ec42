"""Datasets on the wire."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from controlcenter.modelling.datasets.models import Dataset, DatasetState
from ml.contracts.reports.base import read
from ml.contracts.reports.dataset import RowCounts


class ChangeSerializer(serializers.Serializer[Any]):
    """Rows of one table that a step removed or added, for one reason."""

    what = serializers.ChoiceField(choices=["removed", "added"])
    table = serializers.CharField()
    reason = serializers.CharField()
    rows = serializers.IntegerField()
    examples = serializers.ListField(child=serializers.CharField())


class StepSerializer(serializers.Serializer[Any]):
    """One step that made a derived dataset; keys as of ``ml.contracts.reports.dataset``."""

    name = serializers.CharField()
    parameters = serializers.JSONField()
    before = serializers.DictField(
        child=serializers.IntegerField(), help_text="Rows by table and events by edge type."
    )
    after = serializers.DictField(child=serializers.IntegerField())
    changes = ChangeSerializer(many=True)
    because = serializers.CharField(help_text="The evidence of the suggestion; empty: always done.")


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    state = serializers.ChoiceField(choices=DatasetState.choices, read_only=True)
    mapping = serializers.JSONField(
        read_only=True, allow_null=True, help_text="What the columns mean; null: standard tables."
    )
    created_by = serializers.CharField(
        source="created_by.username", default=None, allow_null=True, read_only=True
    )
    rows = serializers.SerializerMethodField(help_text="Rows kept, by table; null until checked.")
    derived = serializers.PrimaryKeyRelatedField[Dataset](
        many=True, read_only=True, help_text="Datasets that were made from this one."
    )
    steps = serializers.SerializerMethodField(
        help_text="How it was made from its source; empty for an upload."
    )

    class Meta:
        model = Dataset
        fields = [
            "id",
            "name",
            "state",
            "error",
            "filename",
            "size",
            "sha256",
            "rows",
            "mapping",
            "schema",
            "schema_hash",
            "synthesis",
            "source",
            "derived",
            "steps",
            "created_by",
            "created_at",
            "validated_at",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.DictField(child=serializers.IntegerField(), allow_null=True))
    def get_rows(self, dataset: Dataset) -> dict[str, int] | None:
        stored = (dataset.report or {}).get("tables")
        if stored is None:
            return None
        tables = read(dict[str, RowCounts], stored, what="the report's tables")
        return {name: rows.rows_kept for name, rows in tables.items()}

    @extend_schema_field(StepSerializer(many=True))
    def get_steps(self, dataset: Dataset) -> list[dict[str, Any]]:
        steps: list[dict[str, Any]] = (dataset.report or {}).get("steps", [])
        return steps


class UploadNameSerializer(serializers.Serializer[Any]):
    """What an upload is called; empty: as its file."""

    name = serializers.CharField(required=False, default="", allow_blank=True, max_length=200)


MAPPING_HELP = """What the columns mean: JSON or YAML, also as a file; empty: the standard tables.

One wide table: `{"format": "wide", "columns": {"customerID": {"role": "id"}, "tenure": {"role":
"numeric", "name": "tenure_months"}, "Contract": {"role": "categorical", "name": "plan"},
"StreamingTV": {"role": "product", "positive": ["Yes"]}, "Churn": {"role": "label", "name": "churn",
"positive": ["Yes"]}, "Notes": {"role": "ignored"}}}`.

Narrow tables in a zip: `{"format": "narrow", "tables": {"users": {"file": "users.csv", "columns":
{"userId": {"role": "id"}, "age": {"role": "numeric"}}}, "events": [{"file": "ratings.csv", "type":
"order", "target_type": "product", "columns": {"userId": {"role": "actor"}, "movieId": {"role":
"target"}, "ts": {"role": "time", "unit": "s"}}}]}}`. Tables: users, products, apps, events.
Roles of a node table: id, numeric, categorical, label, ignored; of a wide table also product; of
events: actor, target, time, event_id, type, target_type, ignored."""


class UploadSerializer(UploadNameSerializer):
    """A multipart form: the file, and what its columns mean."""

    file = serializers.FileField(
        help_text="CSV or Parquet (one wide table) or a zip of users, products, apps, events."
    )
    mapping = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        help_text=MAPPING_HELP,
    )


class SynthesisSerializer(serializers.Serializer[Any]):
    """A synthetic telecom population; the same seed gives the same bytes."""

    name = serializers.CharField(default="Synthetic telecom population", max_length=200)
    users = serializers.IntegerField(min_value=20, max_value=2_000_000, default=5_000)
    products = serializers.IntegerField(min_value=4, max_value=100_000, default=200)
    apps = serializers.IntegerField(min_value=4, max_value=100_000, default=80)
    events = serializers.IntegerField(min_value=0, max_value=50_000_000, default=200_000)
    communities = serializers.IntegerField(min_value=1, max_value=1_000, default=12)
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, default=7)
    structure = serializers.BooleanField(
        default=True, help_text="Plant communities; false: targets at random, nothing to learn."
    )


class QualityReportSerializer(serializers.Serializer[Any]):
    """What the validation found; its keys are those of ``ml.contracts.reports.dataset``."""

    dataset = serializers.UUIDField()
    state = serializers.ChoiceField(choices=DatasetState.choices)
    error = serializers.CharField(allow_blank=True)
    report = serializers.JSONField(allow_null=True)


class LineageSerializer(serializers.Serializer[Any]):
    """Where a dataset came from and what was made from it."""

    dataset = serializers.UUIDField()
    source = serializers.UUIDField(allow_null=True)  # type: ignore[assignment]
    derived = serializers.ListField(child=serializers.UUIDField())
    tasks = serializers.ListField(child=serializers.UUIDField())


class PreviewTableSerializer(serializers.Serializer[Any]):
    """The first rows of one table, and how its columns would be read."""

    table = serializers.CharField()
    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.ListField(child=serializers.ListField())


class DatasetPreviewSerializer(serializers.Serializer[Any]):
    """What an upload would become, before it is one."""

    dataset = serializers.UUIDField()
    tables = PreviewTableSerializer(many=True)
