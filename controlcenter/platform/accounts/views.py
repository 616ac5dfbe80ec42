"""Sign in and out, who am I, workspaces and their members."""

from typing import Any, cast

from django.contrib.auth import authenticate
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlcenter.platform.accounts import services
from controlcenter.platform.accounts.access import visible_workspaces
from controlcenter.platform.accounts.backends import WINDOW, too_many_failures
from controlcenter.platform.accounts.models import Account, Membership, Role, Token
from controlcenter.platform.accounts.permissions import SignedIn
from controlcenter.platform.accounts.serializers import (
    AccountSerializer,
    MembershipSerializer,
    NewTokenSerializer,
    RoleChangeSerializer,
    SignInSerializer,
    TokenSerializer,
    WorkspaceSerializer,
)
from controlcenter.platform.accounts.viewsets import ReadViewSet


class TokenViewSet(mixins.ListModelMixin, mixins.DestroyModelMixin, viewsets.GenericViewSet[Token]):
    """The account's own API tokens. Signing in is making one, signing out is revoking it."""

    queryset = Token.objects.all()
    serializer_class = TokenSerializer
    permission_classes = [SignedIn]
    lookup_field = "id"
    limits_rate = True
    ordering_fields = ["created", "name"]

    def get_permissions(self) -> Any:
        return [AllowAny()] if self.action == "create" else super().get_permissions()

    def get_queryset(self) -> QuerySet[Token]:
        if getattr(self, "swagger_fake_view", False):
            return Token.objects.none()
        return Token.objects.filter(user=self.request.user)

    @extend_schema(request=SignInSerializer, responses={201: NewTokenSerializer})
    def create(self, request: Request) -> Response:
        """Sign in: name and password (or a session) for a token."""
        serializer = SignInSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        account = self.account_of(request, serializer.validated_data)
        token, text = services.issue_token(account=account, name=serializer.validated_data["name"])
        body = TokenSerializer(token).data | {"token": text}
        return Response(body, status=status.HTTP_201_CREATED)

    @staticmethod
    def account_of(request: Request, credentials: dict[str, Any]) -> Account:
        """The account that signs in: by name and password, else by the session.

        Raises:
            Throttled: after too many failures for the name or from the address.
            AuthenticationFailed: if they do not match.
        """
        if "username" in credentials:
            if too_many_failures(request._request, credentials["username"]):
                raise Throttled(wait=WINDOW.total_seconds())
            account = authenticate(
                request, username=credentials["username"], password=credentials.get("password")
            )
        else:
            account = request.user if request.user.is_authenticated else None
        if not isinstance(account, Account):
            raise AuthenticationFailed("Name and password do not match an active account.")
        return account

    def perform_destroy(self, instance: Token) -> None:
        services.revoke_token(token=instance, by=instance.user)


class MeView(APIView):
    """Who am I."""

    permission_classes = [SignedIn]

    @extend_schema(responses=AccountSerializer)
    def get(self, request: Request) -> Response:
        return Response(AccountSerializer(cast(Account, request.user)).data)


class WorkspaceViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Any]
):
    """The workspaces the account is a member of."""

    serializer_class = WorkspaceSerializer
    permission_classes = [SignedIn]
    lookup_field = "slug"
    ordering_fields = ["slug", "name"]

    def get_queryset(self) -> QuerySet[Any]:
        own = Membership.objects.filter(account=self.request.user.pk)
        visible = visible_workspaces(self.request.user)
        return visible.prefetch_related(Prefetch("memberships", queryset=own))


class MemberViewSet(
    mixins.CreateModelMixin, mixins.UpdateModelMixin, mixins.DestroyModelMixin, ReadViewSet
):
    """Members of the workspace and their roles."""

    queryset = Membership.objects.select_related("account", "workspace")
    serializer_class = MembershipSerializer
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    filterset_fields = ["role"]
    ordering_fields = ["role", "account__username"]
    roles = {
        "create": Role.OWNER,
        "partial_update": Role.OWNER,
        "destroy": Role.OWNER,
    }

    @extend_schema(request=MembershipSerializer, responses={201: MembershipSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        membership = self.change(data["account"]["username"], data["role"])
        return Response(MembershipSerializer(membership).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=RoleChangeSerializer, responses=MembershipSerializer)
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = RoleChangeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        membership = self.get_object()
        changed = self.change(membership.account.username, serializer.validated_data["role"])
        return Response(MembershipSerializer(changed).data)

    def change(self, username: str, role: str) -> Membership:
        """Give an account its role in the workspace."""
        return services.set_role(
            workspace=self.workspace, username=username, role=Role(role), by=self.account
        )

    def perform_destroy(self, instance: Membership) -> None:
        services.remove_member(membership=instance, by=self.account)
