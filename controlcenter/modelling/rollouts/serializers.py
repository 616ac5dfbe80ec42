"""Activation and rollback on the wire."""

from typing import Any

from rest_framework import serializers


class ReasonSerializer(serializers.Serializer[Any]):
    """Why; it goes into the audit."""

    reason = serializers.CharField(max_length=300)


class PromotedSerializer(serializers.Serializer[Any]):
    """The version that is active now and the task that rescores."""

    active = serializers.UUIDField()
    number = serializers.IntegerField()
    task = serializers.UUIDField()
