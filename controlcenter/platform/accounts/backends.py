"""Sign in by name and password, but not by guessing: the same limit for API and admin.

Failures are kept in the database, so the limit holds over all web processes, and a client's own
headers say nothing about where it is.
"""

from datetime import timedelta
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.db.models.functions import Now
from django.http import HttpRequest

from controlcenter.platform.accounts.models import SignInFailure

WINDOW = timedelta(minutes=1)
FAILURES_A_NAME = 10
FAILURES_AN_ADDRESS = 60


def address_of(request: HttpRequest | None) -> str:
    """The address that a request came from; empty where it is not known."""
    return str(request.META.get("REMOTE_ADDR", "")) if request is not None else ""


def too_many_failures(request: HttpRequest | None, username: str) -> bool:
    """Whether this name or this address failed so often in a minute that it has to wait."""
    recent = SignInFailure.objects.filter(at__gt=Now() - WINDOW)
    if recent.filter(username=username[:150]).count() >= FAILURES_A_NAME:
        return True
    address = address_of(request)
    return bool(address) and recent.filter(address=address).count() >= FAILURES_AN_ADDRESS


class LimitedBackend(ModelBackend):
    """Django's backend behind the limit."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """The account, or None.

        Raises:
            PermissionDenied: after too many failures; Django takes it for "no".
        """
        name = (username or "")[:150]
        if too_many_failures(request, name):
            raise PermissionDenied("Too many failures: wait a minute.")
        account = super().authenticate(request, username=username, password=password, **kwargs)
        if account is None:
            SignInFailure.objects.filter(at__lt=Now() - WINDOW).delete()
            SignInFailure.objects.create(username=name, address=address_of(request))
        return account
