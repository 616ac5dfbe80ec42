"""Status, switches and the audit on the wire."""

from typing import Any

from rest_framework import serializers

from controlcenter.operations import incremental
from controlcenter.platform.audit.models import AuditEntry


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


class ToggleSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(
        max_length=300, required=False, default="", help_text="Why; it goes into the audit."
    )


class BacklogSerializer(serializers.Serializer[Any]):
    """What is stale."""

    rows = serializers.DictField(
        child=serializers.IntegerField(), help_text="Stale rows by node type."
    )
    edges = serializers.IntegerField(help_text="Edges to touch until nothing is stale.")
    users_waiting = serializers.IntegerField(help_text="Users with events of their own.")
    staleness_p50 = serializers.FloatField(help_text="Seconds, over the stale rows.")
    staleness_p99 = serializers.FloatField(help_text="Seconds, over the stale rows.")


class IncrementalSerializer(serializers.Serializer[Any]):
    """The loop that keeps scores fresh."""

    state = serializers.ChoiceField(choices=incremental.STATES)
    trouble = serializers.CharField(allow_blank=True, help_text="Why it stopped by itself.")
    changed_by = serializers.CharField(allow_blank=True)
    changed_at = serializers.DateTimeField(allow_null=True)
    owner = serializers.CharField(allow_blank=True, help_text="The worker that has it.")
    epoch = serializers.IntegerField(allow_null=True, help_text="The claim that has it, or had.")
    doing = serializers.CharField(allow_blank=True)
    model_version = serializers.DictField(
        allow_null=True, help_text="The version that the profiles are of: id and number."
    )
    position = serializers.CharField(
        help_text="Place in the event log: a snapshot; what it shows is consumed."
    )
    position_at = serializers.DateTimeField(allow_null=True)
    lag_events = serializers.IntegerField(allow_null=True, help_text="Events not consumed yet.")
    lag_seconds = serializers.FloatField(
        allow_null=True, help_text="Since the first of them came; 0: there is none."
    )
    stale_since = serializers.DateTimeField(
        allow_null=True, help_text="Nothing is stale for longer; null: nothing is stale."
    )
    backlog = BacklogSerializer()
    events = serializers.IntegerField(help_text="Events consumed.")
    edges = serializers.IntegerField(help_text="Edges touched for them.")
    edges_per_event = serializers.FloatField(allow_null=True)
    ticks = serializers.IntegerField(help_text="Transactions of the present owner.")
    audit_at = serializers.DateTimeField(allow_null=True)
    audit_rows = serializers.IntegerField(allow_null=True)
    audit_error = serializers.FloatField(
        allow_null=True, help_text="Largest relative error against a full pass."
    )
    checkpoint_at = serializers.DateTimeField(allow_null=True)
    checkpoint_bytes = serializers.IntegerField(allow_null=True)


class FusionTrainingSerializer(serializers.Serializer[Any]):
    """Optional parameters of the fusion."""

    fusion_epochs = serializers.IntegerField(min_value=1, max_value=5000, required=False)
    horizon_days = serializers.IntegerField(min_value=1, max_value=365, required=False)
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
