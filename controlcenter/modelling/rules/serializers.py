"""Rules on the wire."""

import math
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from controlcenter.modelling.rules.models import Rule, RuleRevision
from controlcenter.platform.common.api.serializers import Strict
from ml.rules.rule_set import RuleError, compile_rule


class RuleSerializer(Strict, serializers.ModelSerializer[Rule]):
    weight = serializers.FloatField(min_value=-100.0, max_value=100.0)
    expression = serializers.CharField(trim_whitespace=True)
    sits_out = serializers.SerializerMethodField(
        help_text="Why the workspace's present schema can't run it; null if it can."
    )

    class Meta:
        model = Rule
        fields = ["id", "name", "expression", "weight", "description", "sits_out", "updated_at"]
        read_only_fields = ["updated_at"]

    def validate_weight(self, weight: float) -> float:
        if not math.isfinite(weight):
            raise serializers.ValidationError(f"got {weight}, expected a number from -100 to 100")
        return weight

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_sits_out(self, rule: Rule) -> str | None:
        try:
            compile_rule(rule.expression, rule.workspace.graph_schema)
        except RuleError as error:
            return str(error)
        return None


class RuleRevisionSerializer(serializers.ModelSerializer[RuleRevision]):
    class Meta:
        model = RuleRevision
        fields = ["revision", "rules", "actor", "change", "at"]


class PreviewRequestSerializer(serializers.Serializer[Any]):
    expression = serializers.CharField()
    limit = serializers.IntegerField(
        min_value=0, max_value=1000, default=20, help_text="How many matching users to name."
    )


class PreviewSerializer(serializers.Serializer[Any]):
    """What a rule would match now."""

    matches = serializers.IntegerField()
    users = serializers.IntegerField(help_text="How many were looked at.")
    share = serializers.FloatField()
    sample = serializers.ListField(
        child=serializers.CharField(), help_text="Ids of matching users."
    )
    fields_used = serializers.ListField(child=serializers.CharField())
    milliseconds = serializers.FloatField(help_text="Time of the evaluation, without loading.")
