"""Evaluation reports on the wire."""

from rest_framework import serializers

from controlcenter.modelling.evaluations.models import EvaluationReport


class EvaluationSerializer(serializers.ModelSerializer[EvaluationReport]):
    """One evaluation without its body."""

    metrics = serializers.DictField(
        child=serializers.FloatField(),
        read_only=True,
        help_text="The model's metrics by name: links.mrr, links.user-calls-user.mrr, score.auc.",
    )
    score_validated = serializers.BooleanField(
        read_only=True,
        allow_null=True,
        help_text="False: the score was trained on the rules and measured against nothing else, "
        "so no metric begins with score. Null: the model version does not say.",
    )

    class Meta:
        model = EvaluationReport
        fields = [
            "id",
            "task",
            "iteration",
            "model_version",
            "metrics",
            "score_validated",
            "created_at",
        ]
        read_only_fields = fields


class EvaluationDetailSerializer(EvaluationSerializer):
    report = serializers.DictField(
        read_only=True,
        help_text="Baselines, slices, calibration, worst cases, suggestions.",
    )

    class Meta(EvaluationSerializer.Meta):
        fields = [*EvaluationSerializer.Meta.fields, "report"]
        read_only_fields = fields
