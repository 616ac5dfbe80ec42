"""Bases of serializers."""

from typing import Any

from rest_framework import serializers


class Strict(serializers.BaseSerializer[Any]):
    """Mixin: refuses fields it does not know: a typing error in a name is said, not ignored."""

    fields: Any

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields), key=str)
            if unknown:
                fields = ", ".join(self.fields)
                raise serializers.ValidationError(
                    dict.fromkeys(unknown, f"is not known here; known are {fields}")
                )
        return super().to_internal_value(data)


class StrictSerializer(Strict, serializers.Serializer[Any]):
    """A plain serializer that refuses fields it does not know."""
