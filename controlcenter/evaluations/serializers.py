"""Evaluation reports on the wire."""

from rest_framework import serializers

from controlcenter.evaluations.models import EvaluationReport


class EvaluationSerializer(serializers.ModelSerializer[EvaluationReport]):
    """One evaluation without its body."""

    metrics = serializers.DictField(
        child=serializers.FloatField(),
        read_only=True,
        help_text="The model's metrics by name: links.mrr, links.user-calls-user.mrr, score.auc.",
    )

    class Meta:
        model = EvaluationReport
        fields = ["id", "task", "iteration", "model_version", "metrics", "created_at"]
        read_only_fields = fields


class EvaluationDetailSerializer(EvaluationSerializer):
    report = serializers.DictField(
        read_only=True,
        help_text="Baselines, slices, calibration, worst cases, suggestions.",
    )

    class Meta(EvaluationSerializer.Meta):
        fields = [*EvaluationSerializer.Meta.fields, "report"]
        read_only_fields = fields
