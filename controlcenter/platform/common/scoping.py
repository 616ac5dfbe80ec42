"""Isolation, in one place: what an account may see.

Every model of a workspace derives from ``Scoped``; views, admin and services narrow with
``visible_to`` and nothing else decides what is visible.
"""

from typing import Any, Self

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import models


class ScopedQuerySet(models.QuerySet[Any]):
    """A queryset that can be narrowed to what an account may see."""

    def visible_to(self, account: AbstractBaseUser | AnonymousUser) -> Self:
        """Rows of the account's workspaces; a superuser sees all, a stranger nothing."""
        if account.is_anonymous or not account.is_active:
            return self.none()
        if getattr(account, "is_superuser", False):
            return self
        path = self.model.workspace_path
        return self.filter(**{f"{path}__memberships__account": account})

    def in_workspace(self, workspace: models.Model) -> Self:
        """Rows of one workspace."""
        return self.filter(**{self.model.workspace_path: workspace})


class Scoped(models.Model):
    """Base of every model that belongs to a workspace."""

    workspace_path = "workspace"
    objects = ScopedQuerySet.as_manager()

    class Meta:
        abstract = True
