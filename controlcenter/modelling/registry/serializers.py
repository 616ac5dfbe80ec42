"""Model versions on the wire."""

from rest_framework import serializers

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.platform.artifacts.models import Artifact


class FileSerializer(serializers.ModelSerializer[Artifact]):
    class Meta:
        model = Artifact
        fields = ["name", "key", "size", "sha256"]


class ModelVersionSerializer(serializers.ModelSerializer[ModelVersion]):
    task = serializers.UUIDField(source="task_id", read_only=True)
    active = serializers.BooleanField(read_only=True)
    validated = serializers.BooleanField(
        read_only=True,
        allow_null=True,
        help_text="False: the score was trained on the rules and measured against nothing else.",
    )

    class Meta:
        model = ModelVersion
        fields = [
            "id",
            "number",
            "active",
            "validated",
            "task",
            "dataset",
            "base",
            "seed",
            "code_version",
            "schema_hash",
            "rule_revision",
            "created_at",
        ]
        read_only_fields = fields


class ModelVersionDetailSerializer(ModelVersionSerializer):
    files = FileSerializer(many=True, read_only=True)

    class Meta(ModelVersionSerializer.Meta):
        fields = [
            *ModelVersionSerializer.Meta.fields,
            "schema",
            "rules",
            "rules_sitting_out",
            "metrics",
            "files",
        ]
        read_only_fields = fields
