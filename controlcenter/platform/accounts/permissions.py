"""Roles decide which calls an account may make."""

from typing import Any

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from controlcenter.platform.accounts.access import role_in, workspace_of
from controlcenter.platform.accounts.models import Role


def required_role(view: Any, method: str | None) -> Role:
    """The least role for this call, from the view's ``roles`` (by action, else by method).

    Raises:
        MethodNotAllowed: for a method the view does not have.
        KeyError: if the view declares none: a call without a rule is a defect, not open.
    """
    verb = (method or "").lower()
    if verb == "options":
        return Role.VIEWER
    if hasattr(view, "action_map"):
        action = view.action_map.get(verb)
    else:
        action = ("get" if verb == "head" else verb) if hasattr(view, verb) else None
    if action is None or verb not in view.http_method_names:
        raise MethodNotAllowed(method or "")
    roles: dict[str, Role] = view.roles
    return roles[action]


class RolePermission(BasePermission):
    """Signed in, a member of the request's workspace, and of a role that allows the call."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user or not request.user.is_authenticated:
            return False
        required = required_role(view, request.method)
        role = role_in(request.user, workspace_of(request))
        if role is None or not role.includes(required):
            self.message = (
                f"Your role in this workspace is {role.value if role else 'none'}; "
                f"this needs {required.value}."
            )
            return False
        return True


class SignedIn(BasePermission):
    """Any signed-in account; for what belongs to the account itself."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(request.user and request.user.is_authenticated)
