"""Which delivery is sent next, and what becomes of it. No transaction is open while one is sent.

A delivery that is claimed has a lease. If its sender dies, the lease ends and it is sent again:
perhaps for the second time, with the same id, by which the receiver knows it.

Order: of the deliveries of one subject to one webhook only the oldest pending one is ever sent; the
next waits until it is delivered, given up or dropped. A replay of an older one comes late.
"""

import random
import uuid
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, zip_longest
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, Now

from controlcenter.platform.audit.services import record
from controlcenter.platform.common import clock
from controlcenter.platform.webhooks import signing
from controlcenter.platform.webhooks.models import Delivery, DeliveryStatus, Webhook
from controlcenter.platform.webhooks.outbox import body_of
from controlcenter.platform.webhooks.posting import Answer

log = structlog.get_logger(__name__)
LEASE = timedelta(seconds=60)
AT_ONCE = 4
"""Requests to one webhook at a time; one while it fails."""
FIRST_PAUSE, PAUSE_FACTOR, LONGEST_PAUSE = timedelta(seconds=5), 4, timedelta(hours=8)
JITTER = 0.2
BOTH_SECRETS = timedelta(hours=24)
GONE = 410
KEEP = timedelta(days=30)
SOME = 1000
FINAL = (DeliveryStatus.DELIVERED, DeliveryStatus.FAILED, DeliveryStatus.DROPPED)


@dataclass(frozen=True)
class ClaimedDelivery:
    """A delivery that this sender has until its lease ends.

    Args:
        attempt: Counted when it is claimed, so that a crash counts.
        trouble: Why it can't be sent at all; empty: it can.
    """

    id: uuid.UUID
    webhook: uuid.UUID
    attempt: int
    url: str
    body: bytes
    headers: dict[str, str]
    trouble: str = ""


def pause(attempt: int) -> timedelta:
    """How long to wait after the ``attempt``-th failed: growing, with jitter, up to a cap."""
    grown = min(FIRST_PAUSE * PAUSE_FACTOR ** min(attempt - 1, 10), LONGEST_PAUSE)
    return grown * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (no secret)


def due() -> QuerySet[Delivery]:
    """Deliveries that may be sent now, each the oldest pending one of its subject and webhook."""
    earlier = Delivery.objects.filter(
        webhook=OuterRef("webhook"),
        subject_id=OuterRef("subject_id"),
        event_id__lt=OuterRef("event_id"),
        status=DeliveryStatus.PENDING,
    )
    free = Q(leased_until=None) | Q(leased_until__lte=Now())
    waiting: QuerySet[Delivery] = Delivery.objects.filter(
        free, status=DeliveryStatus.PENDING, available_at__lte=Now()
    )
    return waiting.exclude(Exists(earlier))


@transaction.atomic
def claim(room: int) -> list[ClaimedDelivery]:
    """Take up to ``room`` deliveries, in turns from each webhook that has some.

    Senders never wait for each other: a webhook that another one looks at is skipped.
    """
    if room <= 0:
        return []
    any_due = Exists(due().filter(webhook=OuterRef("pk")))
    webhooks = list(
        Webhook.objects.select_for_update(skip_locked=True, no_key=True)
        .filter(any_due, enabled=True)
        .order_by("pk")
    )
    # Counted under the webhook's lock: all senders together keep to its limit.
    rows = [list(next_of(webhook)) for webhook in webhooks]
    chosen = [row for row in chain.from_iterable(zip_longest(*rows)) if row is not None][:room]
    if not chosen:
        return []
    Delivery.objects.filter(pk__in=[row.pk for row in chosen]).update(
        leased_until=Now() + LEASE,
        attempts=F("attempts") + 1,
        first_attempt_at=Coalesce("first_attempt_at", Now()),
        last_attempt_at=Now(),
    )
    of = {webhook.pk: webhook for webhook in webhooks}
    return [signed(row, of[row.webhook_id]) for row in chosen]


def next_of(webhook: Webhook) -> QuerySet[Delivery]:
    """The next deliveries of a locked webhook, as many as it may have at once."""
    busy = Delivery.objects.filter(
        webhook=webhook, status=DeliveryStatus.PENDING, leased_until__gt=Now()
    ).count()
    limit = 1 if webhook.failing_since else AT_ONCE
    return (
        due()
        .filter(webhook=webhook)
        .select_for_update(skip_locked=True, of=("self",))
        .order_by("available_at", "event_id")[: max(limit - busy, 0)]
    )


def signed(row: Delivery, webhook: Webhook) -> ClaimedDelivery:
    """What goes out for a row, signed with the secret of its webhook."""
    key, body, now = str(row.pk), body_of(row.payload), clock.now()
    present = signing.derive(settings.SECRET_KEY, webhook.secret_salt)
    usable = [present]
    if webhook.previous_salt and webhook.rotated_at and now - webhook.rotated_at < BOTH_SECRETS:
        usable.append(signing.derive(settings.SECRET_KEY, webhook.previous_salt))
    known = signing.digest(present) == webhook.secret_digest
    return ClaimedDelivery(
        id=row.pk,
        webhook=webhook.pk,
        attempt=row.attempts + 1,
        url=webhook.url,
        body=body,
        headers={
            "Content-Type": "application/json",
            "User-Agent": "user-profile-system",
            **signing.headers(usable, key=key, timestamp=int(now.timestamp()), body=body),
        },
        trouble="" if known else "UPS_SECRET_KEY was changed: rotate the webhook's secret",
    )


@transaction.atomic
def settle(claimed: ClaimedDelivery, answer: Answer) -> str:
    """Write down what came of an attempt.

    Returns:
        The delivery's status now; empty if the row is not this attempt's any more.
    """
    webhook = Webhook.objects.select_for_update(no_key=True).filter(pk=claimed.webhook).first()
    row = Delivery.objects.select_for_update().filter(pk=claimed.id).first()
    if webhook is None or row is None or row.status == DeliveryStatus.DELIVERED:
        return ""
    is_current = row.status == DeliveryStatus.PENDING and row.attempts == claimed.attempt
    if not is_current and not answer.good:
        return ""  # what a late attempt failed at says nothing; that the receiver took it does
    change: dict[str, Any] = {
        "leased_until": None,
        "last_status_code": answer.status,
        "last_error": answer.error,
    }
    change |= what_next(row, answer)
    Delivery.objects.filter(pk=row.pk).update(**change)
    note_health(webhook, answer)
    if answer.status == GONE:
        disable_gone(webhook)
    return str(change["status"])


def what_next(row: Delivery, answer: Answer) -> dict[str, Any]:
    if answer.good:
        return {"status": DeliveryStatus.DELIVERED, "delivered_at": Now()}
    if answer.status == GONE:
        return {"status": DeliveryStatus.DROPPED}
    tried = row.attempts - row.earlier_attempts
    if tried >= settings.WEBHOOK_ATTEMPTS:
        return {"status": DeliveryStatus.FAILED}
    return {"status": DeliveryStatus.PENDING, "available_at": Now() + pause(tried)}


def note_health(webhook: Webhook, answer: Answer) -> None:
    if answer.good and webhook.failing_since is not None:
        Webhook.objects.filter(pk=webhook.pk).update(failing_since=None)
    if not answer.good and webhook.failing_since is None:
        Webhook.objects.filter(pk=webhook.pk).update(failing_since=Now())


def disable_gone(webhook: Webhook) -> None:
    """The receiver said 410: it wants no more."""
    if not webhook.enabled:
        return
    Webhook.objects.filter(pk=webhook.pk).update(enabled=False, updated_at=Now())
    record(
        account=None,
        workspace=webhook.workspace,
        action="webhook.disable",
        target=webhook,
        details={"name": webhook.name, "because": "the receiver answered 410 Gone"},
    )
    drop_waiting()
    log.warning("webhook.gone", webhook=str(webhook.pk), name=webhook.name)


@transaction.atomic
def drop_waiting() -> int:
    """Drop what waits for webhooks that are disabled; it can be replayed.

    An event that was under way while its webhook was disabled may leave one: so this runs
    again and again.
    """
    waiting = Delivery.objects.filter(status=DeliveryStatus.PENDING, webhook__enabled=False)
    return unlocked(waiting).update(status=DeliveryStatus.DROPPED, leased_until=None)


@transaction.atomic
def forget_old() -> int:
    """Delete deliveries that ended and were made long ago, some at a time."""
    old = Delivery.objects.filter(status__in=FINAL, created_at__lt=Now() - KEEP)
    deleted, _ = unlocked(old).delete()
    return deleted


def unlocked(rows: QuerySet[Delivery]) -> QuerySet[Delivery]:
    """Up to ``SOME`` of the rows, locked; those that somebody else has come next time."""
    free = rows.select_for_update(skip_locked=True, of=("self",)).order_by("pk")
    return Delivery.objects.filter(pk__in=list(free.values_list("pk", flat=True)[:SOME]))
