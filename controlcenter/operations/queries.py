"""What the status and the metrics show, read from the database."""

from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, Max, Min, Q, QuerySet
from django.db.models.functions import Now

from controlcenter.modelling.registry.queries import active_version
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.common import clock
from controlcenter.platform.log.queries import activity
from controlcenter.platform.runs.models import Chore, Outbox, Run, RunStatus
from controlcenter.serving.ingestion.models import Ingestion
from controlcenter.serving.profiles.models import Explanation, Profile


def counts(queryset: QuerySet[Any], *fields: str) -> dict[tuple[str, ...], int]:
    """Rows by the values of some fields."""
    rows = queryset.order_by().values(*fields).annotate(n=Count("pk"))
    return {tuple(row[field] for field in fields): row["n"] for row in rows}


def seconds_since(moment: datetime | None) -> float | None:
    """Seconds from a moment to now on the database's clock, 0 at least; None without a moment."""
    return max((clock.now() - moment).total_seconds(), 0.0) if moment else None


def queue_ages() -> dict[str, float]:
    """Seconds that the oldest due run of each queue has waited."""
    due = Run.objects.filter(status=RunStatus.QUEUED, available_at__lte=Now())
    oldest = due.order_by().values("queue").annotate(oldest=Min("available_at"))
    return {row["queue"]: seconds_since(row["oldest"]) or 0.0 for row in oldest}


def lease_age() -> float:
    """Seconds since the least recent heartbeat of a running run (0: none runs)."""
    oldest = Run.objects.filter(status=RunStatus.RUNNING).aggregate(at=Min("heartbeat_at"))["at"]
    return seconds_since(oldest) or 0.0


def reaper_age() -> float | None:
    """Seconds since the reaper ran; None: never."""
    last = Chore.objects.filter(name="reaper").aggregate(at=Max("last_at"))["at"]
    return seconds_since(last)


def estimated_rows(table: str) -> int:
    """The planner's estimate; exact counts of large tables take too long for a scrape."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE relname = %s", [table])
        row = cursor.fetchone()
    return max(int(row[0]), 0) if row else 0


def status(workspace: Workspace) -> dict[str, Any]:
    """The workspace at a glance."""
    running = Run.objects.filter(workspace=workspace, status=RunStatus.RUNNING)
    log = activity(workspace.pk)
    switch = Ingestion.objects.filter(workspace=workspace).first()
    users = Profile.objects.filter(workspace=workspace).aggregate(
        total=Count("pk"), scored=Count("pk", filter=Q(final_score__isnull=False))
    )
    version = active_version(workspace.pk)
    return {
        "workspace": workspace.slug,
        "tasks": {
            k[0]: n for k, n in counts(Task.objects.filter(workspace=workspace), "state").items()
        },
        "running": [
            {
                "run": run.pk,
                "kind": run.kind,
                "task": run.owner_id,
                "worker": run.lease_owner,
                "seconds_since_heartbeat": seconds_since(run.heartbeat_at),
                "progress": run.progress,
            }
            for run in running
        ],
        "queued": Run.objects.filter(workspace=workspace, status=RunStatus.QUEUED).count(),
        "unsent_messages": Outbox.objects.filter(sent_at__isnull=True).count(),
        "events": {"total": log.total, "last_received_at": log.last_received_at},
        "ingestion": {
            "stopped": bool(switch and switch.stopped),
            "reason": switch.reason if switch else "",
        },
        "users": users,
        "model_version": {"id": version.pk, "number": version.number} if version else None,
        "seconds_since_reaper": reaper_age(),
    }


def explanation_counts() -> dict[str, int]:
    """Explanations by state."""
    return {k[0]: n for k, n in counts(Explanation.objects.all(), "state").items()}
