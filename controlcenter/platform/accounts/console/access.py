"""Who is at the admin: the account of a request, its roles, the filter by its workspaces."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from controlcenter.platform.accounts.access import visible_workspaces
from controlcenter.platform.accounts.models import Account, Membership, Role


def account_of(request: HttpRequest) -> Account:
    """The account that is signed in; the admin lets nobody else in."""
    account = request.user
    assert isinstance(account, Account)
    return account


def roles_of(request: HttpRequest) -> dict[Any, Role]:
    """The account's role by workspace, read once a request."""
    cached = getattr(request, "_console_roles", None)
    if cached is None:
        pairs = Membership.objects.filter(account=account_of(request)).values_list(
            "workspace_id", "role"
        )
        cached = {workspace: Role(role) for workspace, role in pairs}
        request._console_roles = cached  # type: ignore[attr-defined]
    return dict(cached)


class WorkspaceFilter(admin.SimpleListFilter):
    """By workspace, among those the account may see."""

    title = "workspace"
    parameter_name = "workspace"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return list(visible_workspaces(account_of(request)).values_list("slug", "slug"))

    def has_output(self) -> bool:
        return len(self.lookup_choices) > 1

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(**{f"{queryset.model.workspace_path}__slug": self.value()})
