"""The loop that keeps scores fresh: what its holder publishes, and what readers ask of it."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.common.scoping import Scoped
from controlcenter.platform.log.positions import EMPTY_SNAPSHOT


class Loop(Scoped):
    """What the profiles of a workspace are made of, and the loop that keeps them so.

    The row is there from the first refresh on. ``seen`` is a snapshot of the database: every event
    that is visible in it is known to all profiles but those that the loop still has to refresh.
    """

    workspace = models.OneToOneField(
        "accounts.Workspace", primary_key=True, on_delete=models.CASCADE, related_name="loop"
    )
    version = models.ForeignKey(
        ModelVersion,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The model version that the profiles are of.",
    )
    graph_files = models.ManyToManyField(
        Artifact, related_name="loops", help_text="The graph that the profiles are of."
    )
    graph_generation = models.PositiveBigIntegerField(
        null=True,
        help_text="The generation that these files are of; else they are not of the present one.",
    )
    generation = models.PositiveBigIntegerField(
        default=0, db_default=0, help_text="Rises each time a task replaces the profiles."
    )
    wanted = models.BooleanField(default=False, db_default=False)
    changed_by = models.CharField(max_length=150, blank=True, db_default="")
    changed_at = models.DateTimeField(null=True)
    trouble = models.TextField(
        blank=True, db_default="", help_text="Why it stopped by itself: one sentence."
    )
    epoch = models.BigIntegerField(null=True, help_text="The claim that owns it, or did.")
    serving = models.BooleanField(
        default=False, db_default=False, help_text="It has caught up and answers readers."
    )
    ticks = models.PositiveBigIntegerField(
        default=0, db_default=0, help_text="Transactions of this owner since it had caught up."
    )
    seen = models.TextField(default=EMPTY_SNAPSHOT, db_default=EMPTY_SNAPSHOT)
    seen_at = models.DateTimeField(null=True, help_text="When that snapshot was taken.")
    replaced_seen = models.TextField(
        default=EMPTY_SNAPSHOT,
        db_default=EMPTY_SNAPSHOT,
        help_text="What the task that replaced the profiles had seen.",
    )
    stale_since = models.DateTimeField(
        null=True, help_text="Since when the oldest stale row is stale; null: none is."
    )
    events = models.PositiveBigIntegerField(default=0, db_default=0)
    edges = models.PositiveBigIntegerField(default=0, db_default=0)
    backlog = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    audit_at = models.DateTimeField(null=True)
    audit_rows = models.PositiveIntegerField(null=True)
    audit_error = models.FloatField(null=True, help_text="Largest relative error that was found.")
    checkpoint = models.ForeignKey(Artifact, null=True, on_delete=models.SET_NULL, related_name="+")
    checkpoint_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "incremental refresh"
        verbose_name_plural = "incremental refresh"

    def __str__(self) -> str:
        return f"incremental refresh of {self.workspace}"

    @property
    def has_served(self) -> bool:
        """Whether a holder took events into these profiles since a task replaced them."""
        return self.seen != self.replaced_seen  # a holder's first snapshot is always a later one


class RefreshRequest(Scoped):
    """A reader waits for these users; the holder deletes the row once they are fresh."""

    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.CASCADE, related_name="+")
    user_ids = ArrayField(models.CharField(max_length=200))
    asked_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "incremental_ask"
        indexes = [models.Index(fields=["workspace", "id"], name="ask_workspace")]

    def __str__(self) -> str:
        return f"{len(self.user_ids)} users"
