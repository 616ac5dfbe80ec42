"""Profiles, look-alikes, offers and explanations on the wire."""

from typing import Any

from rest_framework import serializers

from controlcenter.platform.common.formatting import validated
from controlcenter.serving.profiles.models import ExplanationState, Item, Profile

STALE_SINCE = (
    "Since when scores and embedding may lag behind the events; null: they know every event that "
    "was taken before the request."
)
SCORE_VALIDATED = (
    "False: the score was trained on the rules and measured against nothing else. Null: there is "
    "no score yet."
)


class ProfileSummarySerializer(serializers.ModelSerializer[Profile]):
    event_counts = serializers.DictField(child=serializers.IntegerField(), read_only=True)
    score_basis = serializers.CharField(
        read_only=True,
        help_text="What the score was trained on: label, future behaviour, or rules "
        "(then it is not validated).",
    )
    score_validated = serializers.SerializerMethodField(help_text=SCORE_VALIDATED)
    stale_since = serializers.DateTimeField(allow_null=True, read_only=True, help_text=STALE_SINCE)

    class Meta:
        model = Profile
        fields = [
            "user_id",
            "attributes",
            "event_counts",
            "call_peers",
            "last_event_at",
            "rule_score",
            "model_score",
            "gate",
            "final_score",
            "score_basis",
            "score_validated",
            "revision",
            "stale_since",
        ]
        read_only_fields = fields

    def get_score_validated(self, profile: Profile) -> bool | None:
        return validated(profile.score_basis)


class ProfileSerializer(ProfileSummarySerializer):
    """What is known of a user now."""

    embedding = serializers.ListField(
        child=serializers.FloatField(), allow_null=True, read_only=True
    )
    rule_hits = serializers.DictField(
        child=serializers.BooleanField(), allow_null=True, read_only=True
    )

    class Meta(ProfileSummarySerializer.Meta):
        fields = [
            *ProfileSummarySerializer.Meta.fields,
            "label",
            "rule_hits",
            "embedding",
            "model_version",
            "rule_revision",
            "scored_at",
            "created_at",
        ]
        read_only_fields = fields


class SimilarSerializer(serializers.Serializer[Any]):
    user_id = serializers.CharField()
    similarity = serializers.FloatField(help_text="Cosine of the embeddings.")
    final_score = serializers.FloatField(allow_null=True)
    score_validated = serializers.BooleanField(allow_null=True, help_text=SCORE_VALIDATED)
    stale_since = serializers.DateTimeField(allow_null=True, help_text=STALE_SINCE)


class OfferSerializer(serializers.Serializer[Any]):
    """Something to offer, and why."""

    type = serializers.CharField()
    item_id = serializers.CharField()
    name = serializers.CharField(allow_null=True, required=False)
    score = serializers.FloatField()
    reasons = serializers.ListField(child=serializers.CharField())


class RecommendationsSerializer(serializers.Serializer[Any]):
    user_id = serializers.CharField()
    model_version = serializers.UUIDField(allow_null=True)
    stale_since = serializers.DateTimeField(
        allow_null=True,
        help_text="When the first event came that the offers do not know: a refresh task makes "
        "them anew, the incremental refresh does not. Null: there is none.",
    )
    recommendations = OfferSerializer(many=True)


class ContributionSerializer(serializers.Serializer[Any]):
    player = serializers.CharField()
    kind = serializers.CharField(
        help_text="rule, attributes or events; in the other views also rule score, embedding, "
        "attribute."
    )
    value = serializers.JSONField(allow_null=True)
    contribution = serializers.FloatField()


class NeighbourSerializer(serializers.Serializer[Any]):
    """One neighbour: the score minus the score without it."""

    type = serializers.CharField()
    id = serializers.CharField()
    name = serializers.CharField(allow_null=True)
    events = serializers.IntegerField()
    contribution = serializers.FloatField()


class NeighboursSerializer(serializers.Serializer[Any]):
    """The strongest single neighbours of one kind of evidence, left out one by one."""

    player = serializers.CharField()
    neighbours = serializers.IntegerField(help_text="How many there are.")
    tried = serializers.IntegerField(help_text="How many were left out, most events first.")
    strongest = NeighbourSerializer(many=True)


class BackgroundSerializer(serializers.Serializer[Any]):
    """What stands in for what is out of play."""

    id = serializers.CharField(help_text="Of the content.")
    kind = serializers.CharField(help_text="sample, or zero.")
    size = serializers.IntegerField()
    seed = serializers.IntegerField()


class ExplanationSerializer(serializers.Serializer[Any]):
    """Shapley contributions to the final score; with state pending, look again at ``url``."""

    user_id = serializers.CharField()
    state = serializers.ChoiceField(choices=ExplanationState.choices)
    view = serializers.CharField(help_text="evidence, groups or flat.")
    url = serializers.CharField()
    model_version = serializers.UUIDField()
    rule_revision = serializers.IntegerField()
    profile_revision = serializers.IntegerField()
    stale_since = serializers.DateTimeField(allow_null=True, help_text=STALE_SINCE)
    error = serializers.CharField(allow_blank=True)
    score_validated = serializers.BooleanField(
        allow_null=True,
        help_text="False: the score was trained on the rules and measured against nothing else.",
    )
    base = serializers.FloatField(required=False, help_text="Score with nothing in play.")
    score = serializers.FloatField(required=False)
    scale = serializers.CharField(required=False, help_text="Unit of base, score, contributions.")
    summary = serializers.CharField(required=False, help_text="The largest parts in words.")
    contributions = ContributionSerializer(many=True, required=False)
    neighbours = NeighboursSerializer(many=True, required=False)
    additivity_error = serializers.FloatField(required=False)
    standard_error = serializers.FloatField(
        required=False,
        allow_null=True,
        help_text="The largest of a contribution; 0 where all coalitions were counted.",
    )
    drift = serializers.FloatField(
        required=False, help_text="The profile's score minus the explained one."
    )
    method = serializers.CharField(required=False)
    background = BackgroundSerializer(required=False)
    notes = serializers.ListField(child=serializers.CharField(), required=False)
    warnings = serializers.ListField(child=serializers.CharField(), required=False)


class ItemSerializer(serializers.ModelSerializer[Item]):
    class Meta:
        model = Item
        fields = ["item_id", "attributes", "model_version"]
