"""Which workspace a request is about, and the account's role in it."""

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.http import HttpRequest
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from controlcenter.platform.accounts.models import Account, Membership, Role, Workspace


def visible_workspaces(account: Account | AnonymousUser) -> models.QuerySet[Workspace]:
    """The workspaces the account may see."""
    if account.is_anonymous or not account.is_active:
        return Workspace.objects.none()
    if account.is_superuser:
        return Workspace.objects.all()
    return Workspace.objects.filter(memberships__account=account)


def role_in(account: Account, workspace: Workspace) -> Role | None:
    """The account's role in the workspace, or None; a superuser is an owner everywhere."""
    if account.is_superuser:
        return Role.OWNER
    role = (
        Membership.objects.filter(account=account, workspace=workspace)
        .values_list("role", flat=True)
        .first()
    )
    return Role(role) if role else None


def workspace_of(request: Request | HttpRequest) -> Workspace:
    """The workspace of a request: ``?workspace=slug``, else the account's home workspace.

    Raises:
        NotFound: if it is not there or not visible, which an answer does not tell apart.
    """
    cached = getattr(request, "_workspace", None)
    if cached is not None:
        return cached
    account = request.user
    slug = request.GET.get("workspace")
    if account.is_anonymous:
        raise NotFound("No workspace: sign in first.")
    visible = visible_workspaces(account)
    if slug is not None:
        workspace = visible.filter(slug=slug).first()
        if workspace is None:
            raise NotFound(f"No workspace {slug!r} that you can see.")
    else:
        home = account.home_workspace_id
        workspace = visible.filter(pk=home).first() if home else visible.first()
        if workspace is None:
            raise NotFound("You are a member of no workspace: ask an owner to add you.")
    request._workspace = workspace  # type: ignore[union-attr]
    return workspace
