"""Status, switches and the audit on the wire."""

from typing import Any

from rest_framework import serializers

from controlcenter.audit.models import AuditEntry


class StatusSerializer(serializers.Serializer[Any]):
    """The workspace at a glance."""

    workspace = serializers.CharField()
    tasks = serializers.DictField(child=serializers.IntegerField())
    running = serializers.ListField(child=serializers.DictField())
    queued = serializers.IntegerField()
    unsent_messages = serializers.IntegerField()
    events = serializers.DictField()
    ingestion = serializers.DictField()
    users = serializers.DictField()
    model_version = serializers.DictField(allow_null=True)
    seconds_since_reaper = serializers.FloatField(allow_null=True)


class ResourcesSerializer(serializers.Serializer[Any]):
    """CPU, memory and GPU of the machine that answers."""

    cpu_percent = serializers.FloatField()
    cpu_count = serializers.IntegerField()
    memory_used_bytes = serializers.IntegerField()
    memory_total_bytes = serializers.IntegerField()
    process_rss_bytes = serializers.IntegerField()
    process_cpu_percent = serializers.FloatField()
    gpus = serializers.ListField(child=serializers.DictField())


class SwitchSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=300, help_text="Why; it goes into the audit.")


class SwitchedSerializer(serializers.Serializer[Any]):
    stopped = serializers.BooleanField()
    reason = serializers.CharField()
    changed_by = serializers.CharField()


class FusionTrainingSerializer(serializers.Serializer[Any]):
    """Optional parameters of the fusion."""

    fusion_epochs = serializers.IntegerField(min_value=1, max_value=5000, required=False)
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, required=False)


class TrainingSerializer(serializers.Serializer[Any]):
    """Optional parameters of the network's training."""

    epochs = serializers.IntegerField(min_value=1, max_value=1000, required=False)
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, required=False)


class ClearedSerializer(serializers.Serializer[Any]):
    deleted = serializers.IntegerField()


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    class Meta:
        model = AuditEntry
        fields = [
            "id",
            "actor",
            "action",
            "target_type",
            "target_id",
            "details",
            "request_id",
            "at",
        ]
