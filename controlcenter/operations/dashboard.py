"""What the front page of the admin shows."""

from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from rest_framework.exceptions import NotFound

from controlcenter.modelling.registry.queries import active_version
from controlcenter.modelling.tasks.models import Task
from controlcenter.operations import health, incremental, queries, resources
from controlcenter.platform.accounts.access import visible_workspaces, workspace_of
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.common.formatting import badge
from ml.contracts.reports.base import ReportError
from ml.contracts.reports.version import VersionMetrics

RECENT_TASKS = 5
NEWEST = 10_000

# The newest rows by the index of the log: counting them costs the same however long the log is.
LAST_MINUTE = """
SELECT count(*) FROM (
    SELECT received_at FROM events_event WHERE workspace_id = %s ORDER BY id DESC LIMIT %s
) AS newest WHERE received_at > statement_timestamp() - interval '1 minute'
"""


def board(request: HttpRequest) -> dict[str, Any]:
    """What runs in the workspace, how good its model is, and whether the system is well."""
    account: Any = request.user
    system = {
        "workspaces": list(visible_workspaces(account)),
        "checks": health.check_all(),
        "machine": resources.snapshot(),
        "flower": settings.FLOWER_URL,
    }
    try:
        workspace = workspace_of(request)
    except NotFound as error:
        return {"refused": str(error.detail), **system}
    return {**system, **facts(workspace)}


def facts(workspace: Workspace) -> dict[str, Any]:
    """What the front page shows of a workspace."""
    recent = Task.objects.filter(workspace=workspace).select_related("dataset")
    version = active_version(workspace.pk)
    loop = incremental.state(workspace)
    return {
        "workspace": workspace,
        "status": queries.status(workspace),
        "rate": events_in_last_minute(workspace),
        "incremental": loop,
        "stale_rows": sum(loop["backlog"]["rows"].values()),
        "recent": [(task, badge(task.state)) for task in recent[:RECENT_TASKS]],
        "version": version,
        **(quality(version.metrics) if version else {}),
    }


def quality(stored: object) -> dict[str, Any]:
    """The report of the active version's score, or why it cannot be read."""
    try:
        return {"score": VersionMetrics.from_dict(stored).score}
    except ReportError as error:
        return {"unreadable": str(error)}


def events_in_last_minute(workspace: Workspace) -> str:
    """How many events came in, as text: beyond NEWEST they are not counted."""
    with connection.cursor() as cursor:
        cursor.execute(LAST_MINUTE, [workspace.pk, NEWEST])
        count: int = cursor.fetchone()[0]
    return f"{count:,}" if count < NEWEST else f"more than {NEWEST:,}"
