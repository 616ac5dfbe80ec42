"""Events on the wire."""

from typing import Any

from rest_framework import serializers


class EventPayloadSerializer(serializers.Serializer[Any]):
    """Any object. An event whose type the graph knows has to say who did it to what."""

    actor = serializers.CharField(
        required=False, help_text="Id of the user; needed where the graph knows the type."
    )
    target = serializers.CharField(
        required=False,
        help_text="Id of the user, product or app; needed where the graph knows the type.",
    )
    target_type = serializers.CharField(
        required=False, help_text="user, product or app; needed where the type allows several."
    )


class EnvelopeSerializer(serializers.Serializer[Any]):
    """The standard envelope."""

    event_id = serializers.UUIDField(help_text="Makes ingestion idempotent.")
    source = serializers.CharField(required=False, default="api")  # type: ignore[assignment]
    type = serializers.CharField(
        help_text="call, order, click, use: what the schema knows makes an edge; any other is kept."
    )
    timestamp = serializers.DateTimeField(help_text="ISO 8601 with a zone.")
    payload = EventPayloadSerializer()
    meta = serializers.DictField(required=False)


class RejectedEventSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField(help_text="Place in the batch, from 0.")
    field = serializers.CharField()
    reason = serializers.CharField()


class ReceiptSerializer(serializers.Serializer[Any]):
    """What became of a batch: accepted + duplicates + rejected = received."""

    received = serializers.IntegerField()
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    outside_graph = serializers.IntegerField(
        help_text="Of the accepted ones, those of a type that the graph does not know."
    )
    created_users = serializers.IntegerField(help_text="Users that were unknown until now.")
    rejected = RejectedEventSerializer(many=True)
