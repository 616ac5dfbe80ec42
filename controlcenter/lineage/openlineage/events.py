"""Runs and tasks as OpenLineage events: https://openlineage.io/spec/2-0-2/OpenLineage.json."""

import heapq
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce

from controlcenter.lineage.openlineage import facets
from controlcenter.lineage.openlineage.facets import SPEC, producer
from controlcenter.lineage.openlineage.ports import Ports, Wiring
from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import StageRun, Task
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.runs.models import RunStatus

LIMIT, MAX_LIMIT = 500, 1000
Event = dict[str, Any]
Last = tuple[datetime, uuid.UUID]
"""Where a page ended: when the last run or task of it ended (else began), and its id."""

ENDS = {
    RunStatus.DONE: "COMPLETE",
    RunStatus.FAILED: "FAIL",
    RunStatus.LOST: "FAIL",
    RunStatus.RELEASED: "ABORT",
    RunStatus.CANCELLED: "ABORT",
}
TASK_ENDS = {states.COMPLETED: "COMPLETE", states.FAILED: "FAIL", states.CANCELLED: "ABORT"}


@dataclass(frozen=True)
class Page:
    """Events of some runs and tasks; ``last`` where there are more."""

    events: list[Event]
    last: Last | None = None


def page(
    workspace: Workspace,
    *,
    since: datetime | None = None,
    after: uuid.UUID | None = None,
    task: str | None = None,
    limit: int = LIMIT,
) -> Page:
    """START and, once it is over, the end of each run and task that was begun, oldest first.

    One that still runs is told again, with its end, once it is over.

    Args:
        since: Only those that ended (else began) then or later.
        after: Of those at ``since`` only those with a greater id.
        limit: Runs and tasks together.
    """
    runs = StageRun.objects.filter(workspace=workspace).select_related("task")
    tasks = Task.objects.filter(workspace=workspace)
    if task is not None:
        runs, tasks = runs.filter(task=task), tasks.filter(pk=task)
    both = [begun(runs, since, after)[: limit + 1], begun(tasks, since, after)[: limit + 1]]
    rows = list(islice(heapq.merge(*both, key=lambda row: (row.moment, row.pk)), limit + 1))
    shown = rows[:limit]
    last = (shown[-1].moment, shown[-1].pk) if len(rows) > limit else None
    return Page(list(events(workspace, shown)), last)


def pages(workspace: Workspace, **filters: Any) -> Iterator[Page]:
    """All pages, one after the other."""
    current = page(workspace, **filters)
    yield current
    while current.last is not None:
        since, after = current.last
        current = page(workspace, **(filters | {"since": since, "after": after}))
        yield current


def begun(rows: QuerySet[Any], since: datetime | None, after: uuid.UUID | None) -> QuerySet[Any]:
    """Those that were begun, by when they ended or else began."""
    rows = rows.filter(started_at__isnull=False)
    rows = rows.annotate(moment=Coalesce("finished_at", "started_at")).order_by("moment", "pk")
    if since is None:
        return rows
    if after is None:
        return rows.filter(moment__gte=since)
    return rows.filter(Q(moment__gt=since) | Q(moment=since, pk__gt=after))


def events(workspace: Workspace, rows: list[Any]) -> Iterator[Event]:
    """The events of runs and tasks, in the order of the rows."""
    runs = [row for row in rows if isinstance(row, StageRun)]
    wiring = Wiring(workspace.pk, runs)
    ports = {run.pk: wiring.ports(run) for run in runs}
    dataset_facts = facets.DatasetFacts(workspace.pk, runs, ports.values())
    for row in rows:
        if isinstance(row, StageRun):
            yield from run_events(workspace, row, ports[row.pk], dataset_facts)
        else:
            yield from task_events(workspace, row)


def run_events(
    workspace: Workspace, run: StageRun, ports: Ports, dataset_facts: facets.DatasetFacts
) -> Iterator[Event]:
    """The beginning of a run and, once it is over, its end."""
    name = f"{run.task.workflow}.{run.kind}" if run.task else run.kind
    inputs = [dataset_facts.input(namespace(workspace), dataset) for dataset in ports.inputs]
    fields: Event = {
        "run": {"runId": str(run.pk), "facets": parent(workspace, run.task)},
        "job": job(workspace, name, facets.job_type("STAGE") | dataset_facts.code(run)),
        "inputs": inputs,
        "outputs": [],
    }
    yield event("START", run.started_at, fields)
    if run.status in ENDS:
        outputs = [dataset_facts.output(namespace(workspace), dataset) for dataset in ports.outputs]
        ended = fields | {"outputs": outputs}
        ended["run"] = with_error(fields["run"], ENDS[RunStatus(run.status)], run.error)
        yield event(ENDS[RunStatus(run.status)], run.finished_at, ended)


def task_events(workspace: Workspace, task: Task) -> Iterator[Event]:
    """A task is the parent of its runs; what is read and written is theirs."""
    fields: Event = {
        "run": {"runId": str(task.pk), "facets": {}},
        "job": job(workspace, task.workflow, facets.job_type("WORKFLOW")),
        "inputs": [],
        "outputs": [],
    }
    yield event("START", task.started_at, fields)
    if task.state in TASK_ENDS:
        kind = TASK_ENDS[task.state]
        yield event(
            kind, task.finished_at, fields | {"run": with_error(fields["run"], kind, task.error)}
        )


def event(kind: str, at: datetime | None, fields: Event) -> Event:
    """One OpenLineage event; what is told again and again of its run is in ``fields``."""
    assert at is not None
    return {
        "eventType": kind,
        "eventTime": at.isoformat(),
        **fields,
        "producer": producer(),
        "schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }


def namespace(workspace: Workspace) -> str:
    """The namespace of the jobs and datasets of a workspace."""
    return f"ups:{workspace.slug}"


def job(workspace: Workspace, name: str, job_facets: Event) -> Event:
    """The job of an event: a workflow, or one stage of it."""
    return {"namespace": namespace(workspace), "name": name, "facets": job_facets}


def parent(workspace: Workspace, task: Task | None) -> Event:
    """The facet of a run's task; none for a run without one."""
    return facets.parent(str(task.pk), namespace(workspace), task.workflow) if task else {}


def with_error(run: Event, kind: str, error: str) -> Event:
    """The run of an event, with the sentence of its error unless it completed."""
    if kind == "COMPLETE" or not error:
        return run
    return run | {"facets": run["facets"] | facets.error_message(error)}
