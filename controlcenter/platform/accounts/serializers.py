"""Accounts, workspaces, members and tokens on the wire."""

from typing import Any

from rest_framework import serializers

from controlcenter.platform.accounts.models import Account, Membership, Role, Token, Workspace


class WorkspaceSerializer(serializers.ModelSerializer[Workspace]):
    schema_hash = serializers.SerializerMethodField()
    role = serializers.SerializerMethodField(help_text="Your role in it.")

    class Meta:
        model = Workspace
        fields = ["slug", "name", "role", "schema_hash", "created_at"]
        read_only_fields = ["created_at"]

    def get_schema_hash(self, workspace: Workspace) -> str:
        return workspace.graph_schema.hash

    def get_role(self, workspace: Workspace) -> str | None:
        account = self.context["request"].user
        if account.is_superuser:
            return Role.OWNER.value
        roles = [m.role for m in workspace.memberships.all() if m.account_id == account.pk]
        return roles[0] if roles else None


class MembershipSerializer(serializers.ModelSerializer[Membership]):
    account = serializers.CharField(source="account.username", help_text="Name of the account.")
    role = serializers.ChoiceField(choices=Role.choices)

    class Meta:
        model = Membership
        fields = ["id", "account", "role"]


class RoleChangeSerializer(serializers.Serializer[Any]):
    role = serializers.ChoiceField(choices=Role.choices)


class AccountSerializer(serializers.ModelSerializer[Account]):
    home_workspace = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)
    workspaces = serializers.SerializerMethodField(help_text="Workspace and role.")

    class Meta:
        model = Account
        fields = ["username", "email", "home_workspace", "workspaces"]

    def get_workspaces(self, account: Account) -> dict[str, str]:
        pairs = account.memberships.values_list("workspace__slug", "role")
        return dict(pairs)


class TokenSerializer(serializers.ModelSerializer[Token]):
    class Meta:
        model = Token
        fields = ["id", "name", "token_key", "created", "expiry"]
        read_only_fields = ["id", "token_key", "created", "expiry"]


class NewTokenSerializer(TokenSerializer):
    token = serializers.CharField(read_only=True, help_text="Shown once; stored only as a digest.")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]


class SignInSerializer(serializers.Serializer[Any]):
    """Name and password; not needed where the request is already signed in."""

    username = serializers.CharField(required=False)
    password = serializers.CharField(required=False, style={"input_type": "password"})
    name = serializers.CharField(required=False, default="", max_length=100)
