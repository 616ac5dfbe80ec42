"""Bases of the API's views: narrowed to the request's workspace, guarded by roles."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import mixins, viewsets
from rest_framework.request import Request

from controlcenter.platform.accounts.access import workspace_of
from controlcenter.platform.accounts.models import Account, Role, Workspace


class InWorkspace:
    """Who asks, and about which workspace."""

    request: Request

    @property
    def workspace(self) -> Workspace:
        """The workspace that the request is about.

        Raises:
            NotFound: if it is not there or not visible.
        """
        return workspace_of(self.request)

    @property
    def account(self) -> Account:
        """The account that asks; permissions let nobody else in."""
        account = self.request.user
        assert isinstance(account, Account)
        return account


class ScopedViewSet(InWorkspace, viewsets.GenericViewSet[Any]):
    """Sees one workspace. Subclasses name the least role of each action in ``roles``."""

    roles: dict[str, Role] = {}
    read_roles: dict[str, Role] = {"list": Role.VIEWER, "retrieve": Role.VIEWER}
    request: Request

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.roles = cls.read_roles | cls.roles

    def get_queryset(self) -> QuerySet[Any]:
        queryset: Any = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return queryset.none()
        return queryset.visible_to(self.account).in_workspace(self.workspace)


class ReadViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    """Lists and reads."""
