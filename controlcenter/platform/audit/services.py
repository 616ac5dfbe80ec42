"""The one way into the audit."""

from typing import Any

import structlog
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models

from controlcenter.platform.audit.models import AuditEntry

SYSTEM = "system"


def record(
    *,
    account: AbstractBaseUser | None,
    action: str,
    target: models.Model,
    workspace: models.Model | None = None,
    details: dict[str, Any] | None = None,
) -> AuditEntry:
    """Append an entry in the caller's transaction: what rolls back was not done.

    Args:
        account: Who did it; None is the system itself.
        action: ``thing.verb``, for example ``task.cancel``.
    """
    bound = structlog.contextvars.get_contextvars()
    return AuditEntry.objects.create(
        workspace_id=workspace.pk if workspace else None,
        account_id=account.pk if account else None,
        actor=account.get_username() if account else SYSTEM,
        action=action,
        target_type=target._meta.label,
        target_id=str(target.pk),
        details=details or {},
        request_id=str(bound.get("request_id", "")),
    )
