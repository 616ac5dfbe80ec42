"""Reads of webhooks and deliveries."""

from urllib.parse import urlsplit

from django.db.models import Count, Min
from django.db.models.functions import Now

from controlcenter.platform.common import clock
from controlcenter.platform.webhooks.models import Delivery, DeliveryStatus, Webhook


def delivery_counts() -> dict[str, int]:
    """Kept deliveries by status."""
    rows = Delivery.objects.order_by().values("status").annotate(n=Count("pk"))
    return {row["status"]: row["n"] for row in rows}


def oldest_pending() -> float:
    """Seconds since the oldest delivery that waits became due for the first time (0: none)."""
    waiting = Delivery.objects.filter(status=DeliveryStatus.PENDING, webhook__enabled=True)
    at = waiting.aggregate(at=Min("created_at"))["at"]
    return max((clock.now() - at).total_seconds(), 0.0) if at else 0.0


def failing() -> int:
    """Webhooks none of whose attempts went well lately."""
    return Webhook.objects.filter(enabled=True, failing_since__lte=Now()).count()


def any_enabled() -> bool:
    return Webhook.objects.filter(enabled=True).exists()


def origin(url: str) -> str:
    """A URL without what may be secret in it: its path and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/…"
