"""Events as they are read."""

from rest_framework import serializers

from controlcenter.platform.log.models import Event


class EventSerializer(serializers.ModelSerializer[Event]):
    class Meta:
        model = Event
        fields = ["event_id", "source", "type", "timestamp", "payload", "meta", "received_at"]
