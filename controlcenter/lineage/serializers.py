"""The lineage on the wire."""

from typing import Any

from rest_framework import serializers

from controlcenter.lineage.node import DERIVED
from controlcenter.lineage.refs import DATASET, EVALUATION, GRAPH, PROFILE, PROFILES, VERSION

KINDS = [DATASET, DERIVED, GRAPH, VERSION, EVALUATION, PROFILES, PROFILE]


class LineageNodeSerializer(serializers.Serializer[Any]):
    """One thing that was made."""

    key = serializers.CharField(help_text="Unique within the answer; edges name it.")
    kind = serializers.ChoiceField(choices=KINDS)
    id = serializers.CharField(
        help_text="Of its row. Of a graph: the run that built it; of the profiles: their model "
        "version; of one profile: the user."
    )
    name = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True, help_text="When it was made.")
    state = serializers.CharField(
        allow_blank=True, help_text="Of a dataset its state, of the version in force: active."
    )
    run = serializers.UUIDField(allow_null=True, help_text="The run that made it.")
    task = serializers.UUIDField(allow_null=True)
    iteration = serializers.IntegerField(allow_null=True)
    exists = serializers.BooleanField(
        help_text="Whether it can still be had: its objects are there, profiles are still of it."
    )
    numbers = serializers.DictField(
        child=serializers.FloatField(), help_text="Counts and metrics by name."
    )
    score_validated = serializers.BooleanField(
        allow_null=True,
        help_text="Of a profile and an evaluation. False: the score was trained on the rules and "
        "measured against nothing else. Null: there is no score, or nobody knows.",
    )
    hashes = serializers.DictField(
        child=serializers.CharField(),
        help_text="sha256 of an upload, files (SHA-256 over a graph's files), schema, code.",
    )


class LineageEdgeSerializer(serializers.Serializer[Any]):
    """One thing was made from another."""

    source = serializers.CharField(source="source.key")  # type: ignore[assignment]
    target = serializers.CharField(source="target.key")
    how = serializers.CharField(
        help_text="optimized, suggested, built, taken over, trained, fused, evaluated, scored."
    )


class LineageGraphSerializer(serializers.Serializer[Any]):
    """What something was made from, and what was made from it."""

    asked = serializers.ListField(
        source="starts",
        child=serializers.CharField(),
        help_text="Keys of the nodes that the graph is around.",
    )
    nodes = LineageNodeSerializer(many=True)
    edges = LineageEdgeSerializer(many=True)
    truncated = serializers.BooleanField(help_text="Whether there is more than is shown.")
