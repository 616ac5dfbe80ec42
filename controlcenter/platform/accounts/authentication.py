"""Sign-in by token."""

from typing import Any

from drf_spectacular.contrib.knox_auth_token import KnoxTokenScheme
from knox.auth import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request


class ApiTokenAuthentication(TokenAuthentication):
    """Knox's, where a token that is no text is a wrong one, and another scheme is told ours."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        scheme = request.headers.get("Authorization", "").partition(" ")[0]
        if scheme.lower() == "bearer":
            raise AuthenticationFailed("Got the scheme Bearer, expected: Authorization: Token …")
        credentials: tuple[Any, Any] | None = super().authenticate(request)
        return credentials

    def authenticate_credentials(self, token: bytes) -> tuple[Any, Any]:
        if not token.isascii():
            raise AuthenticationFailed("Invalid token.")
        account, api_token = super().authenticate_credentials(token)
        return account, api_token


class ApiTokenScheme(KnoxTokenScheme):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names it."""

    target_class = "controlcenter.platform.accounts.authentication.ApiTokenAuthentication"
