"""Accounts, workspaces, members and tokens in the admin."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.core.validators import validate_slug
from django.db.models import QuerySet
from django.http import HttpRequest
from rest_framework.exceptions import ValidationError

from controlcenter.platform.accounts import services
from controlcenter.platform.accounts.access import visible_workspaces
from controlcenter.platform.accounts.console import (
    ConsoleAdmin,
    Done,
    Operation,
    ScopedAdmin,
    WorkspaceFilter,
    account_of,
)
from controlcenter.platform.accounts.console.forms import ConfirmForm, ConsoleForm, workspace_field
from controlcenter.platform.accounts.models import Account, Membership, Role, Token, Workspace
from controlcenter.platform.audit.services import record

admin.site.unregister(Group)


class WorkspaceForm(ConsoleForm):
    """A new workspace."""

    slug = forms.CharField(max_length=64, validators=[validate_slug])
    name = forms.CharField(max_length=200)
    owner = forms.CharField(max_length=150, help_text="Name of the account that will own it.")

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if Workspace.objects.filter(slug=slug).exists():
            raise forms.ValidationError(f"there is a workspace {slug!r} already")
        return slug


@admin.register(Workspace)
class WorkspaceAdmin(ConsoleAdmin):
    """The tenants: everything else belongs to exactly one."""

    list_display = ("slug", "name", "created_at")
    search_fields = ("slug", "name")
    fields = ("slug", "name", "created_at", "schema_hash")
    list_operations = (Operation("add", "Add workspace", "run_add", Role.OWNER, WorkspaceForm),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return visible_workspaces(account_of(request))

    def workspace_id_of(self, row: Any) -> Any:
        return row.pk

    def has_add_permission(self, request: HttpRequest) -> bool:
        return account_of(request).is_superuser

    def allowed(self, request: HttpRequest, role: Role, row: Any = None) -> bool:
        if row is None and role == Role.OWNER:
            return self.has_add_permission(request)
        return super().allowed(request, role, row)

    @admin.display(description="feature contract")
    def schema_hash(self, workspace: Workspace) -> str:
        return workspace.graph_schema.hash

    def run_add(self, request: HttpRequest, row: Any, data: dict[str, Any]) -> Done:
        owner = Account.objects.filter(username=data["owner"]).first()
        if owner is None:
            raise ValidationError({"owner": f"no account is called {data['owner']!r}"})
        workspace = services.create_workspace(slug=data["slug"], name=data["name"], owner=owner)
        return Done(f"Workspace {workspace} belongs to {owner} now.", self.row_url(workspace))


class MemberForm(ConsoleForm):
    """Who is a member, and as what."""

    workspace = workspace_field()
    account = forms.CharField(max_length=150, help_text="Its exact name.")
    role = forms.ChoiceField(choices=Role.choices, initial=Role.VIEWER)


class RoleForm(ConsoleForm):
    """Another role for a member."""

    role = forms.ChoiceField(choices=Role.choices)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.setdefault("role", self.row.role)


@admin.register(Membership)
class MembershipAdmin(ScopedAdmin):
    """Members of your workspaces and their roles. Owners change them."""

    list_display = ("account", "workspace", "role")
    list_filter = (WorkspaceFilter, "role")
    list_select_related = ("workspace", "account")
    search_fields = ("account__username",)
    fields = ("workspace", "account_name", "role")
    list_operations = (Operation("add", "Add member", "run_add", Role.OWNER, MemberForm),)
    operations = (
        Operation("role", "Change the role", "run_role", Role.OWNER, RoleForm),
        Operation(
            "remove", "Remove from the workspace", "run_remove", Role.OWNER, ConfirmForm,
            danger=True, help="The account keeps its other workspaces.",
        ),
    )  # fmt: skip

    @admin.display(description="account")
    def account_name(self, membership: Membership) -> str:
        return membership.account.username

    def run_add(self, request: HttpRequest, row: Any, data: dict[str, Any]) -> Done:
        name, role = data["account"], Role(data["role"])
        services.set_role(
            workspace=data["workspace"], username=name, role=role, by=account_of(request)
        )
        return Done(f"{name} is {role.value} in {data['workspace']} now.")

    def run_role(self, request: HttpRequest, row: Membership, data: dict[str, Any]) -> Done:
        role, name = Role(data["role"]), row.account.username
        services.set_role(workspace=row.workspace, username=name, role=role, by=account_of(request))
        return Done(f"{name} is {role.value} in {row.workspace} now.")

    def run_remove(self, request: HttpRequest, row: Membership, data: dict[str, Any]) -> Done:
        name, workspace = row.account.username, row.workspace
        services.remove_member(membership=row, by=account_of(request))
        return Done(f"{name} is no longer a member of {workspace}.", self.list_url())


class TokenForm(ConsoleForm):
    """A new token of your own."""

    save_label = "Issue the token"
    name = forms.CharField(max_length=100, help_text="What it is for.")


@admin.register(Token)
class TokenAdmin(ConsoleAdmin):
    """Your own API tokens. The text of a token is shown once, when it is issued."""

    list_display = ("label", "token_key", "user", "created", "expiry")
    list_display_links = ("label",)
    list_select_related = ("user",)
    search_fields = ("name", "token_key")
    fields = ("name", "token_key", "created", "expiry")
    list_operations = (Operation("add", "Issue a token", "run_add", Role.VIEWER, TokenForm),)
    operations = (
        Operation(
            "revoke", "Revoke", "run_revoke", Role.VIEWER, bulk=True, danger=True,
            help="It stops working at once.",
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        account = account_of(request)
        tokens = super().get_queryset(request)
        return tokens if account.is_superuser else tokens.filter(user=account)

    def allowed(self, request: HttpRequest, role: Role, row: Any = None) -> bool:
        """Everybody rules over their own tokens; a superuser may revoke others'."""
        account = account_of(request)
        return account.is_active and (row is None or account.is_superuser or row.user == account)

    def may_see_history(self, request: HttpRequest, row: Any) -> bool:
        return account_of(request).is_superuser

    @admin.display(description="name", ordering="name")
    def label(self, token: Token) -> str:
        return str(token)

    def run_add(self, request: HttpRequest, row: Any, data: dict[str, Any]) -> Done:
        token, text = services.issue_token(account=account_of(request), name=data["name"])
        return Done(f"Token {token}: {text}  Copy it now, it is shown this once.")

    def run_revoke(self, request: HttpRequest, row: Token, data: dict[str, Any]) -> Done:
        services.revoke_token(token=row, by=account_of(request))
        return Done(f"Token {row} does not work any more.", self.list_url())


@admin.register(Account)
class AccountAdmin(UserAdmin):  # type: ignore[type-arg]
    """Who signs in. For superusers; an account is switched off, never deleted."""

    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("About", {"fields": ("first_name", "last_name", "email", "home_workspace")}),
        ("May", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Times", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_module_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """As usual, and noted in the audit."""
        super().save_model(request, obj, form, change)
        record(
            account=account_of(request),
            action="account.change" if change else "account.create",
            target=obj,
            details={"account": obj.username, "fields": form.changed_data},
        )
