"""Webhooks change here; their deliveries are written by ``outbox`` and sent by ``sender``."""

import ipaddress
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from rest_framework.exceptions import NotFound, ValidationError

from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.audit.services import record
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.webhooks import addresses, outbox, queue, signing
from controlcenter.platform.webhooks.models import Delivery, DeliveryStatus, Webhook

MAX_WEBHOOKS = 20


def check_url(url: str) -> None:
    """Raises: ValidationError if no delivery could ever go there."""
    try:
        target = addresses.parse(url)
    except addresses.BadAddress as error:
        raise ValidationError({"url": str(error)}) from error
    try:
        literal = ipaddress.ip_address(target.host)
    except ValueError:
        return  # a name: looked at when it is sent to
    if not settings.WEBHOOK_PRIVATE_ADDRESSES and not addresses.is_public(literal):
        raise ValidationError({"url": f"{literal} is no public address"})


def check_name(workspace: Workspace, name: str, *, but: Webhook | None = None) -> None:
    """Raises: ValidationError if another webhook of the workspace has the name."""
    same = Webhook.objects.filter(workspace=workspace, name=name)
    if same.exclude(pk=but.pk if but else None).exists():
        raise ValidationError({"name": f"there is a webhook {name!r} already"})


def locked(workspace: Workspace) -> Workspace:
    return Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)


def current(webhook: Webhook) -> Webhook:
    """The webhook as it is now, locked.

    Raises:
        NotFound: if somebody deleted it meanwhile.
    """
    row = Webhook.objects.select_for_update(no_key=True).filter(pk=webhook.pk).first()
    if row is None:
        raise NotFound(f"Webhook {webhook.name!r} was deleted meanwhile.")
    return row


def note(webhook: Webhook, account: Account, action: str, **details: Any) -> None:
    record(
        account=account,
        workspace=webhook.workspace,
        action=f"webhook.{action}",
        target=webhook,
        details={"name": webhook.name, **details},
    )


@transaction.atomic
def create(
    *, workspace: Workspace, account: Account, fields: dict[str, Any]
) -> tuple[Webhook, str]:
    """A webhook and its secret, which is shown this once.

    Raises:
        ValidationError: for a URL that can't be one, or a name that is taken.
        Conflict: if the workspace has enough of them.
    """
    workspace = locked(workspace)
    check_url(fields["url"])
    check_name(workspace, fields["name"])
    if Webhook.objects.filter(workspace=workspace).count() >= MAX_WEBHOOKS:
        raise Conflict(f"A workspace has at most {MAX_WEBHOOKS} webhooks: delete one first.")
    salt = signing.new_salt()
    secret = signing.derive(settings.SECRET_KEY, salt)
    webhook = Webhook.objects.create(
        workspace=workspace,
        created_by=account,
        secret_salt=salt,
        secret_digest=signing.digest(secret),
        **fields,
    )
    note(webhook, account, "create", url=webhook.url, states=webhook.states)
    return webhook, secret


@transaction.atomic
def update(*, webhook: Webhook, account: Account, fields: dict[str, Any]) -> Webhook:
    """Change a webhook; one that is disabled drops what waits for it.

    Raises:
        ValidationError: for a URL that can't be one, or a name that is taken.
    """
    workspace = locked(webhook.workspace)
    webhook = current(webhook)
    changed = {name: new for name, new in fields.items() if getattr(webhook, name) != new}
    if not changed:
        return webhook
    if "url" in changed:
        check_url(changed["url"])
    check_name(workspace, changed.get("name", webhook.name), but=webhook)
    forgiven = {"failing_since": None} if {"url", "enabled"} & set(changed) else {}
    Webhook.objects.filter(pk=webhook.pk).update(updated_at=Now(), **changed, **forgiven)
    webhook = current(webhook)
    if not webhook.enabled:
        queue.drop_waiting()
    note(webhook, account, "update", **changed)
    return webhook


@transaction.atomic
def delete(*, webhook: Webhook, account: Account) -> None:
    """Remove a webhook with its deliveries."""
    locked(webhook.workspace)
    row = Webhook.objects.select_for_update().filter(pk=webhook.pk).first()
    if row is None:
        raise NotFound(f"Webhook {webhook.name!r} was deleted meanwhile.")
    note(row, account, "delete", url=row.url)
    row.delete()


@transaction.atomic
def rotate(*, webhook: Webhook, account: Account) -> str:
    """A new secret, shown this once; for 24 hours deliveries are signed with the one before too."""
    webhook = current(webhook)
    salt = signing.new_salt()
    secret = signing.derive(settings.SECRET_KEY, salt)
    Webhook.objects.filter(pk=webhook.pk).update(
        secret_salt=salt,
        secret_digest=signing.digest(secret),
        previous_salt=webhook.secret_salt,
        rotated_at=Now(),
        updated_at=Now(),
    )
    note(webhook, account, "rotate")
    return secret


@transaction.atomic
def test(*, webhook: Webhook, account: Account) -> Delivery:
    """Send a ping.

    Raises:
        Conflict: if the webhook is disabled.
    """
    webhook = enabled(current(webhook))
    note(webhook, account, "test")
    return outbox.write_ping(webhook)


@transaction.atomic
def replay(*, delivery: Delivery, account: Account) -> Delivery:
    """Send a delivery once more: the same id, the same payload.

    Raises:
        Conflict: if it waits anyway, or its webhook is disabled.
    """
    webhook = enabled(current(delivery.webhook))
    row = Delivery.objects.select_for_update().filter(pk=delivery.pk).first()
    if row is None:
        raise NotFound(f"Delivery {delivery.pk} is not there any more.")
    if row.status == DeliveryStatus.PENDING:
        raise Conflict("The delivery is pending: it is sent without being asked again.")
    Delivery.objects.filter(pk=row.pk).update(
        status=DeliveryStatus.PENDING,
        available_at=Now(),
        leased_until=None,
        delivered_at=None,
        earlier_attempts=F("attempts"),
    )
    note(webhook, account, "replay", delivery=str(row.pk), was=row.status)
    outbox.wake()
    return Delivery.objects.select_related("webhook").get(pk=row.pk)


def enabled(webhook: Webhook) -> Webhook:
    """Raises: Conflict if it is not."""
    if not webhook.enabled:
        raise Conflict(f"Webhook {webhook.name!r} is disabled: enable it first.")
    return webhook
