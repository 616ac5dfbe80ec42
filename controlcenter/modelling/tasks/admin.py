"""Tasks in the admin: create, follow, start, cancel."""

from typing import Any

from django.contrib import admin
from django.db.models import Max, Prefetch, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.reports.cells import unreadable
from controlcenter.modelling.reports.line_chart import line_chart
from controlcenter.modelling.reports.metric_tables import metric_tables
from controlcenter.modelling.tasks import iterations, services, states, workflows
from controlcenter.modelling.tasks.models import StageRun, Task
from controlcenter.modelling.tasks.pages import timeline
from controlcenter.modelling.tasks.pages.forms import TaskForm
from controlcenter.modelling.tasks.pages.links import links_of
from controlcenter.modelling.tasks.pages.training_losses import losses_by_epoch
from controlcenter.modelling.tasks.queueing import waiting
from controlcenter.modelling.tasks.spec.task_spec import TaskSpec
from controlcenter.modelling.tasks.versions import kept_version
from controlcenter.platform.accounts.console import (
    Done,
    Operation,
    ScopedAdmin,
    WorkspaceFilter,
    account_of,
)
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.common.formatting import Table, badge, bar, duration, pretty, when
from controlcenter.platform.runs.models import LIVE, RunStatus
from ml.contracts.reports.base import ReportError
from ml.contracts.reports.version import TaskMetrics

HEAVY = ("payload", "metrics", "traceback")


def may_start(task: Task) -> bool:
    """Whether the button to start makes sense for the task; the service decides."""
    return task.state == states.PENDING and not task.runs.all()


def may_cancel(task: Task) -> bool:
    """Whether there is something to cancel."""
    return task.state in states.INCOMPLETE and task.cancel_requested_at is None


def may_suspend(task: Task) -> bool:
    """Whether it works and nobody asked it to stop yet."""
    requested_at = task.cancel_requested_at or task.suspend_requested_at
    return task.state in states.ACTIVE and requested_at is None


def may_resume(task: Task) -> bool:
    """Whether it is suspended and nobody resumed it yet."""
    return task.state == states.SUSPENDED and not any(run.status in LIVE for run in task.runs.all())


def may_retry(task: Task) -> bool:
    """Whether it is over without being completed."""
    return task.state in (states.FAILED, states.CANCELLED)


@admin.register(Task)
class TaskAdmin(ScopedAdmin):
    """Refreshes of the workspace's profiles. One runs at a time, others wait their turn."""

    change_form_template = "admin/ups/task.html"
    list_display = (
        "title", "workspace", "workflow", "coloured_state", "progress", "dataset",
        "created", "took",
    )  # fmt: skip
    list_filter = (WorkspaceFilter, "state", "workflow")
    list_select_related = ("workspace", "dataset")
    search_fields = ("name", "id__iexact")
    fieldsets = (
        (None, {"fields": ("workspace", "workflow", "mode", "dataset", "base_version")}),
        (
            "How",
            {
                "classes": ["collapse"],
                "fields": (
                    "parameters_text", "priority", "created_by", "created_at", "started_at",
                    "finished_at", "id",
                ),
            },
        ),
    )  # fmt: skip
    list_operations = (Operation("add", "Create a task", "run_add", Role.OPERATOR, TaskForm),)
    operations = (
        Operation("start", "Start", "run_start", Role.OPERATOR, offered=may_start, bulk=True),
        Operation(
            "suspend", "Suspend", "run_suspend", Role.OPERATOR, offered=may_suspend, bulk=True,
            help="The worker keeps what it has and is free within seconds.",
        ),
        Operation(
            "resume", "Resume", "run_resume", Role.OPERATOR, offered=may_resume, bulk=True,
            help="Goes on from where it was suspended, when its turn comes.",
        ),
        Operation(
            "retry", "Retry", "run_retry", Role.OPERATOR, offered=may_retry,
            help="A new task that takes over the finished stages of this one.",
        ),
        Operation(
            "cancel", "Cancel", "run_cancel", Role.OPERATOR, offered=may_cancel, bulk=True,
            danger=True, help="At once when nothing runs, else within seconds.",
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        runs = Prefetch("runs", StageRun.objects.defer(*HEAVY))
        return super().get_queryset(request).prefetch_related(runs)

    @admin.display(description="task", ordering="name")
    def title(self, task: Task) -> str:
        return str(task)

    @admin.display(description="state", ordering="state")
    def coloured_state(self, task: Task) -> SafeString:
        return badge(task.state)

    @admin.display(description="progress")
    def progress(self, task: Task) -> SafeString:
        share = timeline.share_done(task, task.runs.all())
        return format_html("{} {}", bar(share, f"progress of {task}"), f"{share:.0%}")

    @admin.display(description="created", ordering="created_at")
    def created(self, row: Task) -> str:
        return when(row.created_at)

    @admin.display(description="took")
    def took(self, task: Task) -> str:
        return duration(task.started_at, task.finished_at)

    @admin.display(description="parameters")
    def parameters_text(self, task: Task) -> SafeString:
        return pretty(task.parameters)

    def panels(self, request: HttpRequest, row: Task) -> dict[str, Any]:
        runs = list(row.runs.defer("payload"))
        live = next((run for run in runs if run.status == RunStatus.RUNNING), None)
        version = kept_version(row)
        stream = reverse("tasks-events", args=[row.pk])
        return {
            "stages": [
                (stage, [timeline.attempt_row(run) for run in stage.runs])
                for stage in timeline.stages(row, runs)
            ],
            "earlier": [timeline.attempt_row(run) for run in runs if run.iteration < row.iteration],
            "iterations": iterations_table(row),
            "state_badge": badge(row.state),
            "live": live,
            "share": timeline.share_done(row, runs),
            "followed": row.state not in states.FINAL,
            "stream": f"{stream}?workspace={row.workspace.slug}",
            "last_event": row.events.aggregate(last=Max("pk"))["last"] or 0,
            "waiting": waits(row),
            "takes_over": reused_stages(runs),
            "transitions": transitions_table(row),
            "links": [*version_links(version), *links_of(row)],
            **trained_panels(row, row.metrics or (version.metrics if version else {})),
        }

    def run_add(self, request: HttpRequest, row: None, data: dict[str, Any]) -> Done:
        parameters, workspace = data["parameters"], data["workspace"]
        based = workflows.needs_base(data["workflow"], parameters["mode"])
        task, _ = services.create(
            workspace=workspace,
            account=account_of(request),
            spec=TaskSpec(
                workflow=data["workflow"],
                parameters=parameters,
                dataset=data["dataset"],
                base_version=data["base_version"] if based else None,
                name=data["name"],
                priority=data["priority"],
                start=data["start"],
            ),
        )
        return Done(f"Task {task} was created.", self.row_url(task))

    def run_start(self, request: HttpRequest, row: Task, data: dict[str, Any]) -> Done:
        services.start(task=row, account=account_of(request))
        return Done(f"Task {row} is queued.")

    def run_suspend(self, request: HttpRequest, row: Task, data: dict[str, Any]) -> Done:
        task = services.suspend(task=row, account=account_of(request))
        over = task.state == states.SUSPENDED
        return Done(f"Task {row} is suspended." if over else f"Task {row} is being suspended.")

    def run_resume(self, request: HttpRequest, row: Task, data: dict[str, Any]) -> Done:
        services.resume(task=row, account=account_of(request))
        return Done(f"Task {row} is queued again.")

    def run_retry(self, request: HttpRequest, row: Task, data: dict[str, Any]) -> Done:
        task = services.retry(task=row, account=account_of(request))
        return Done(f"Task {task} does it again.", self.row_url(task))

    def run_cancel(self, request: HttpRequest, row: Task, data: dict[str, Any]) -> Done:
        task = services.cancel(task=row, account=account_of(request))
        over = task.state == states.CANCELLED
        return Done(f"Task {row} is cancelled." if over else f"Task {row} is being cancelled.")


def trained_panels(task: Task, stored: object) -> dict[str, Any]:
    """The curve of the losses, and the tables of the metrics."""
    try:
        metrics = TaskMetrics.from_dict(stored)
        losses = losses_by_epoch(task, metrics.losses)
    except ReportError as error:
        return {"metrics": [unreadable(error)]}
    tables = metric_tables(metrics.links, metrics.score)
    return {"chart": line_chart(losses), "metrics": tables}


def waits(task: Task) -> str:
    """What the task waits for, as a sentence; empty: nothing."""
    waits_for = waiting(task)
    if waits_for is None:
        return ""
    return f"{waits_for.reason[0].upper()}{waits_for.reason[1:]}."


def reused_stages(runs: list[StageRun]) -> list[str]:
    """Which finished stages a retry took over, and from where."""
    return [
        f"{run.kind}: {len(run.metrics['reused']['artifacts'])} artifact(s) of task "
        f"{run.metrics['reused']['task']}"
        for run in runs
        if run.status == RunStatus.DONE and run.reuses_id and "reused" in run.metrics
    ]


def iterations_table(task: Task) -> Table | None:
    """What each iteration reached; None where there is but one."""
    scores = iterations.scores(task)
    if len(scores) < 2:
        return None
    top = iterations.best(scores)
    rows = [
        [score.iteration, f"{score.value:.4f}", "kept" if score == top else ""] for score in scores
    ]
    return Table("Iterations", ["iteration", iterations.metric_of(task), ""], rows, numeric=[0, 1])


def transitions_table(task: Task) -> Table:
    """Every edge that the task took, with who and why."""
    rows = [
        [
            f"{transition.at:%Y-%m-%d %H:%M:%S}",
            badge(transition.source),
            badge(transition.target),
            transition.actor,
            transition.reason,
        ]
        for transition in task.transitions.all()
    ]
    return Table("Transitions", ["when", "from", "to", "who", "why"], rows)


def version_links(version: ModelVersion | None) -> list[dict[str, str]]:
    """Where the model version of a task is shown."""
    if version is None:
        return []
    url = reverse("admin:registry_modelversion_change", args=[version.pk])
    return [{"url": url, "label": f"Model {version}"}]
