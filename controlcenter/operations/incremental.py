"""The incremental refresh as operators see it."""

from typing import Any

from django.db.models.functions import Now

from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.log.edges import edge_lag
from controlcenter.platform.runs.models import LIVE, Run, RunStatus
from controlcenter.serving.incremental.models import Loop
from controlcenter.serving.incremental.services import runs_of

OFF, QUEUED, STARTING, RUNNING = "off", "queued", "starting", "running"
LOST, STOPPING, FAILED = "lost", "stopping", "failed"
STATES = (
    (OFF, "nobody started it, or somebody stopped it"),
    (QUEUED, "waits for a worker"),
    (STARTING, "a worker loads model and states, and catches up with the log"),
    (RUNNING, "scores follow the events"),
    (LOST, "its worker was lost; another one takes over"),
    (STOPPING, "its worker hands it back"),
    (FAILED, "it stopped by itself; trouble says why"),
)
EMPTY_BACKLOG: dict[str, Any] = {
    "rows": {},
    "edges": 0,
    "users_waiting": 0,
    "staleness_p50": 0.0,
    "staleness_p99": 0.0,
}


def state(workspace: Workspace) -> dict[str, Any]:
    """Everything there is to say of the loop of a workspace."""
    loop = Loop.objects.filter(pk=workspace.pk).select_related("version", "checkpoint").first()
    run = runs_of(workspace.pk).filter(status__in=LIVE).order_by("-created_at").first()
    if loop is None:
        loop = Loop(workspace=workspace, trouble="", changed_by="")
    behind = edge_lag(workspace.pk, loop.seen) if loop.seen_at else None
    version = loop.version
    return {
        "state": state_of(loop, run),
        "trouble": loop.trouble,
        "changed_by": loop.changed_by,
        "changed_at": loop.changed_at,
        "owner": run.lease_owner if run else "",
        "epoch": loop.epoch,
        "doing": run.progress.get("message", "") if run else "",
        "model_version": {"id": version.pk, "number": version.number} if version else None,
        "position": loop.seen,
        "position_at": loop.seen_at,
        "lag_events": behind.events if behind else None,
        "lag_seconds": behind.seconds if behind else None,
        "stale_since": loop.stale_since,
        "backlog": EMPTY_BACKLOG | loop.backlog,
        "events": loop.events,
        "edges": loop.edges,
        "edges_per_event": loop.edges / loop.events if loop.events else None,
        "ticks": loop.ticks,
        "audit_at": loop.audit_at,
        "audit_rows": loop.audit_rows,
        "audit_error": loop.audit_error,
        "checkpoint_at": loop.checkpoint_at,
        "checkpoint_bytes": loop.checkpoint.size if loop.checkpoint else None,
    }


def state_of(loop: Loop, run: Run | None) -> str:
    """One word of ``STATES``."""
    if not loop.wanted:
        running = run is not None and run.status == RunStatus.RUNNING
        return STOPPING if running else FAILED if loop.trouble else OFF
    if run is None or run.status == RunStatus.QUEUED:
        return QUEUED
    held = Run.objects.filter(pk=run.pk, lease_expires_at__gt=Now()).exists()
    if not held:
        return LOST
    return RUNNING if loop.serving and loop.epoch == run.epoch else STARTING
