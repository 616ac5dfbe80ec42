"""The transactional outbox: what a transaction decided to send is sent, at least once."""

from datetime import timedelta
from itertools import takewhile

import structlog
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from kombu.exceptions import OperationalError as BrokerError

from controlcenter.celery import app
from controlcenter.platform.runs import kinds
from controlcenter.platform.runs.models import Outbox, RunFields

log = structlog.get_logger(__name__)
CHANNEL = "ups_outbox"
BATCH = 100
KEEP_SENT = timedelta(days=2)
BROKER_AWAY = (OSError, BrokerError)
PUBLISH_RETRY = {"max_retries": 1, "interval_start": 0.1}


def enqueue(run: RunFields, *, delay: timedelta = timedelta(0)) -> None:
    """Ask for a message that says "look at this run", in the caller's transaction."""
    Outbox.objects.create(
        job=kinds.get(run.kind).job,
        queue=run.queue,
        run_id=run.pk,
        request_id=run.request_id,
        available_at=Now() + delay,
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])


def relay(limit: int = BATCH) -> int:
    """Publish what is due. A crash between publishing and marking sends it twice: harmless.

    Returns:
        How many messages were sent.
    """
    with transaction.atomic():
        due = list(
            Outbox.objects.select_for_update(skip_locked=True)
            .filter(sent_at__isnull=True, available_at__lte=Now())
            .order_by("available_at", "id")[:limit]
        )
        sent = list(takewhile(publish, due))
        Outbox.objects.filter(pk__in=[row.pk for row in sent]).update(
            sent_at=Now(), tries=F("tries") + 1, error=""
        )
    return len(sent)


def publish(row: Outbox) -> bool:
    """Whether the broker has the message; if not, the row says why and when to try again."""
    try:
        app.send_task(
            row.job,
            args=[str(row.run_id)],
            task_id=str(row.run_id),
            queue=row.queue,
            headers={"request_id": row.request_id},
            retry=True,
            retry_policy=PUBLISH_RETRY,
        )
    except BROKER_AWAY as error:
        wait = timedelta(seconds=min(2**row.tries, 30))
        Outbox.objects.filter(pk=row.pk).update(
            tries=F("tries") + 1, error=str(error)[:500], available_at=Now() + wait
        )
        log.warning("outbox.not_sent", outbox=row.pk, error=str(error))
        return False
    return True


def forget_sent() -> int:
    """Delete rows sent long ago; the runs keep the history."""
    deleted, _ = Outbox.objects.filter(sent_at__lt=Now() - KEEP_SENT).delete()
    return deleted
