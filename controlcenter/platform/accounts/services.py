"""Accounts, memberships and tokens change here."""

from django.db import transaction
from rest_framework.exceptions import ValidationError

from controlcenter.platform.accounts.models import Account, Membership, Role, Token, Workspace
from controlcenter.platform.audit.services import record
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.common.hooks import Hook

workspace_created: Hook[[Workspace]] = Hook()


@transaction.atomic
def create_workspace(*, slug: str, name: str, owner: Account) -> Workspace:
    """A workspace and its first owner; it becomes the owner's home if they have none."""
    workspace = Workspace.objects.create(slug=slug, name=name)
    Membership.objects.create(workspace=workspace, account=owner, role=Role.OWNER)
    if owner.home_workspace_id is None:
        Account.objects.filter(pk=owner.pk).update(home_workspace=workspace)
        owner.home_workspace = workspace
    record(account=owner, workspace=workspace, action="workspace.create", target=workspace)
    workspace_created(workspace)
    return workspace


@transaction.atomic
def set_role(*, workspace: Workspace, username: str, role: Role, by: Account) -> Membership:
    """Make the account a member with this role, or change the role it has.

    Raises:
        ValidationError: if no account has this name.
        Conflict: if the workspace would be left without an owner.
    """
    account = Account.objects.filter(username=username).first()
    if account is None:
        raise ValidationError({"account": f"no account is called {username!r}"})
    Workspace.objects.select_for_update().get(pk=workspace.pk)
    if role != Role.OWNER:
        keep_an_owner(workspace, without=account)
    membership, _ = Membership.objects.update_or_create(
        workspace=workspace, account=account, defaults={"role": role}
    )
    if account.home_workspace_id is None:
        Account.objects.filter(pk=account.pk).update(home_workspace=workspace)
    details = {"account": username, "role": role.value}
    record(
        account=by,
        workspace=workspace,
        action="member.set_role",
        target=membership,
        details=details,
    )
    return membership


@transaction.atomic
def remove_member(*, membership: Membership, by: Account) -> None:
    """End a membership.

    Raises:
        Conflict: if the workspace would be left without an owner.
    """
    workspace = Workspace.objects.select_for_update().get(pk=membership.workspace_id)
    keep_an_owner(workspace, without=membership.account)
    Account.objects.filter(pk=membership.account_id, home_workspace=workspace).update(
        home_workspace=None
    )
    details = {"account": membership.account.username}
    record(
        account=by, workspace=workspace, action="member.remove", target=membership, details=details
    )
    membership.delete()


def keep_an_owner(workspace: Workspace, *, without: Account) -> None:
    """Raises: Conflict if ``without`` is the workspace's only owner."""
    owners = Membership.objects.filter(workspace=workspace, role=Role.OWNER)
    if owners.filter(account=without).exists() and not owners.exclude(account=without).exists():
        raise Conflict(
            f"{without.username} is the only owner of {workspace.slug}: make another one first."
        )


@transaction.atomic
def issue_token(*, account: Account, name: str) -> tuple[Token, str]:
    """A new token and its text, which is stored nowhere and shown this once."""
    token, text = Token.objects.create(user=account, name=name)
    record(
        account=account,
        workspace=account.home_workspace,
        action="token.issue",
        target=token,
        details={"name": name},
    )
    return token, text


@transaction.atomic
def revoke_token(*, token: Token, by: Account) -> None:
    """The token stops working at once."""
    details = {"name": token.name, "of": token.user.get_username()}
    record(
        account=by,
        workspace=token.user.home_workspace,
        action="token.revoke",
        target=token,
        details=details,
    )
    token.delete()
