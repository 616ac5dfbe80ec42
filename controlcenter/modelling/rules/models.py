"""Rules of a workspace, and the revisions of their set."""

from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

from controlcenter.platform.common.scoping import Scoped

NAME = RegexValidator(r"^[a-z][a-z0-9_]*$", "a name is lower-case letters, digits and _")


class Rule(Scoped):
    """A readable statement about a user that moves the score."""

    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=64, validators=[NAME])
    expression = models.TextField(help_text="For example: tenure_months < 12 and monthly_fee >= 70")
    weight = models.FloatField(
        help_text="Above zero a match raises the score, below zero it lowers it. From -100 to 100."
    )
    description = models.CharField(max_length=300, blank=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="one_rule_a_name")
        ]

    def __str__(self) -> str:
        return self.name


class RuleRevision(Scoped):
    """The whole rule set as it was after one change; never altered."""

    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.CASCADE, related_name="+")
    revision = models.PositiveIntegerField()
    rules = models.JSONField(help_text="Name, expression and weight of each rule.")
    actor = models.CharField(max_length=150)
    change = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-revision"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "revision"], name="one_rule_revision")
        ]

    def __str__(self) -> str:
        return f"revision {self.revision}: {self.change}"
