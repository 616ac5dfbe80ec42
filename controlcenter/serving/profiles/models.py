"""Users as the system knows them now, the things they touch, and explanations."""

from datetime import datetime

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from pgvector.django import VectorField

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.platform.common.scoping import Scoped

EMBEDDING_DIMENSIONS = 64


class Profile(Scoped):
    """What is known of one user now. One row answers a query.

    Counts come in two parts that are added on reading: ``base_counts`` of the dataset behind the
    active version, replaced by a refresh, and ``live_counts`` of the event log, raised by
    ingestion. So the two never wait for each other.

    The table has one more column, ``changed_xid``: the transaction of the user's latest event.

    Attributes:
        stale_since: Since when the score may lag behind the events; ``reading.fresh`` sets it.
    """

    stale_since: datetime | None = None

    workspace = models.ForeignKey(
        "accounts.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    user_id = models.CharField(max_length=200)
    attributes = models.JSONField(default=dict)
    label = models.BooleanField(null=True, help_text="The uploaded label, if any.")
    base_counts = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    live_counts = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    scored_counts = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        help_text="Events by type as they were when the score was made.",
    )
    call_peers = models.PositiveIntegerField(default=0, db_default=0)
    last_event_at = models.DateTimeField(null=True)
    live_last_event_at = models.DateTimeField(null=True)
    embedding = VectorField(dimensions=EMBEDDING_DIMENSIONS, null=True)
    rule_hits = models.JSONField(null=True, help_text="Rule name → hit or not.")
    rule_score = models.FloatField(null=True)
    model_score = models.FloatField(null=True)
    gate = models.FloatField(null=True, help_text="Share of the rules in the score, 0 to 1.")
    final_score = models.FloatField(null=True)
    score_basis = models.CharField(max_length=32, blank=True, db_default="")
    recommendations = models.JSONField(null=True)
    model_version = models.ForeignKey(
        ModelVersion, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    rule_revision = models.PositiveIntegerField(null=True)
    revision = models.PositiveBigIntegerField(default=1, db_default=1)
    scored_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(
        null=True, help_text="When the first event of the user came that the score does not know."
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["user_id"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "user_id"], name="one_profile_a_user")
        ]
        indexes = [
            models.Index(
                "workspace",
                models.F("final_score").desc(nulls_last=True),
                name="profile_scores",
            ),
            GinIndex(
                fields=["attributes"], name="profile_attributes", opclasses=["jsonb_path_ops"]
            ),
        ]

    def __str__(self) -> str:
        return self.user_id

    @property
    def event_counts(self) -> dict[str, int]:
        """Events by type, of the dataset and of the log."""
        total: dict[str, int] = dict(self.base_counts)
        for kind, count in self.live_counts.items():
            total[kind] = total.get(kind, 0) + count
        return total


class Item(Scoped):
    """A product or an app."""

    workspace = models.ForeignKey(
        "accounts.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    type = models.CharField(max_length=32)
    item_id = models.CharField(max_length=200)
    attributes = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    embedding = VectorField(dimensions=EMBEDDING_DIMENSIONS, null=True)
    model_version = models.ForeignKey(
        ModelVersion, null=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["item_id"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "type", "item_id"], name="one_item_an_id")
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.item_id}"


class CallPeer(Scoped):
    """That a user called somebody, by the dataset, the log, or both: peers are counted once."""

    # Each comes with its event or in its refresh, which the server holds to their workspace.
    workspace = models.ForeignKey(
        "accounts.Workspace",
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    user_id = models.CharField(max_length=200)
    peer_id = models.CharField(max_length=200)
    in_dataset = models.BooleanField(default=False, db_default=False)
    in_log = models.BooleanField(default=False, db_default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "user_id", "peer_id"], name="one_peer")
        ]

    def __str__(self) -> str:
        return f"{self.user_id} called {self.peer_id}"


class ExplanationState(models.TextChoices):
    """Where an explanation stands."""

    PENDING = "pending", "a worker will compute it"
    READY = "ready"
    FAILED = "failed"


class ExplanationView(models.TextChoices):
    """What the parts of an explanation are."""

    EVIDENCE = "evidence", "rules and kinds of evidence"
    GROUPS = "groups", "rules, rule score, embedding, attributes"
    FLAT = "flat", "every feature of the fusion on its own"


class ExplanationBackground(models.TextChoices):
    """What stands in for what is out of play."""

    SAMPLE = "sample", "the stored sample of users"
    ZERO = "zero", "zeros, which no user has"


class Explanation(Scoped):
    """Shapley contributions to one score, cached by what it was made of and what was asked."""

    workspace_path = "profile__workspace"
    profile = models.ForeignKey(Profile, on_delete=models.CASCADE, related_name="explanations")
    model_version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="+")
    rule_revision = models.PositiveIntegerField()
    profile_revision = models.PositiveBigIntegerField(help_text="Of the profile when it was asked.")
    explained_revision = models.PositiveBigIntegerField(
        null=True, help_text="Of the profile that was explained; higher if it was scored meanwhile."
    )
    view = models.CharField(
        max_length=16,
        choices=ExplanationView.choices,
        default=ExplanationView.EVIDENCE,
        db_default=ExplanationView.EVIDENCE,
    )
    background = models.CharField(
        max_length=16,
        choices=ExplanationBackground.choices,
        default=ExplanationBackground.SAMPLE,
        db_default=ExplanationBackground.SAMPLE,
    )
    state = models.CharField(
        max_length=16, choices=ExplanationState.choices, default=ExplanationState.PENDING
    )
    result = models.JSONField(null=True)
    error = models.TextField(blank=True)
    requested_at = models.DateTimeField(db_default=Now())
    ready_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "profile",
                    "model_version",
                    "rule_revision",
                    "profile_revision",
                    "view",
                    "background",
                ],
                name="one_explanation_a_score",
            )
        ]
        indexes = [
            models.Index(
                fields=["requested_at"], condition=Q(state="pending"), name="explanation_pending"
            )
        ]

    def __str__(self) -> str:
        return f"{self.profile} at revision {self.profile_revision}: {self.state}"
