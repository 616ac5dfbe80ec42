"""Who signs in, and what belongs to whom."""

import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Now
from knox.models import AbstractAuthToken

from controlcenter.platform.common.scoping import Scoped
from ml.contracts.schema import TELECOM, GraphSchema


class Role(models.TextChoices):
    """What a membership allows; each role includes those before it."""

    VIEWER = "viewer", "viewer: read"
    ANALYST = "analyst", "analyst: read, explain, preview rules"
    OPERATOR = "operator", "operator: write and run"
    OWNER = "owner", "owner: members, tokens, switches"

    @property
    def rank(self) -> int:
        """Its place in the order: each role includes those below it."""
        return list(Role).index(self)

    def includes(self, other: "Role") -> bool:
        """Whether this role allows what ``other`` allows."""
        return self.rank >= other.rank


class Workspace(models.Model):
    """The tenant: everything else belongs to exactly one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    schema = models.JSONField(
        null=True, blank=True, editable=False, help_text="Feature contract; empty: the telecom one."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug

    @property
    def graph_schema(self) -> GraphSchema:
        """The feature contract that rules are written against."""
        return GraphSchema.from_dict(self.schema) if self.schema else TELECOM


class Account(AbstractUser):  # type: ignore[django-manager-missing]  # knox has no types
    """Somebody or some program that signs in (never a profiled user)."""

    home_workspace = models.ForeignKey(
        Workspace,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="The workspace of a request that names none.",
    )


class Membership(Scoped):
    """The role of an account in a workspace."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices)

    class Meta:
        ordering = ["account__username"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "account"], name="one_role_a_workspace")
        ]

    def __str__(self) -> str:
        return f"{self.account} is {self.role} in {self.workspace}"


class Token(AbstractAuthToken):
    """An API token: only its digest is stored, so it is shown once, when it is made."""

    id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=100, blank=True)

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.name or self.token_key


class SignInFailure(models.Model):
    """A name and password that did not match; kept for a minute, to slow down guessing."""

    username = models.CharField(max_length=150)
    address = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField(db_default=Now(), db_index=True)

    def __str__(self) -> str:
        return f"{self.username} from {self.address}"
