"""What runs left, read for many rows at once: which graph, which dataset, which scores."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.fields.json import KT

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import StageRun, Task
from controlcenter.platform.runs.models import RunStatus
from controlcenter.serving.profiles.models import Profile
from ml.contracts.reports.dataset import MadeBy

Iteration = tuple[uuid.UUID, int]
"""A task and one of its iterations."""


def done(workspace_id: uuid.UUID, kind: str) -> QuerySet[StageRun]:
    """Finished runs of one kind."""
    return StageRun.objects.filter(workspace=workspace_id, kind=kind, status=RunStatus.DONE)


def finished_runs(
    workspace_id: uuid.UUID, kind: str, tasks: Collection[uuid.UUID]
) -> dict[Iteration, uuid.UUID]:
    """Id of the run whose artifacts a stage has, by task and iteration; as ``runs.finished``."""
    rows = done(workspace_id, kind).filter(task__in=tasks)
    return {
        (task, iteration): reuses or pk
        for pk, task, iteration, reuses in rows.values_list("pk", "task", "iteration", "reuses")
    }


def derived_datasets(workspace_id: uuid.UUID, tasks: Collection[uuid.UUID]) -> dict[Iteration, str]:
    """Id of the derived dataset that an iteration of a task works on, where it has one."""
    rows = done(workspace_id, states.OPTIMIZING).filter(task__in=tasks)
    outputs = rows.values_list("task", "iteration", KT("metrics__dataset"))
    return {(task, iteration): dataset for task, iteration, dataset in outputs if dataset}


def graphs_of(
    workspace_id: uuid.UUID, versions: Collection[uuid.UUID | str]
) -> dict[uuid.UUID, uuid.UUID]:
    """The run that built the graph a version was trained on, by version."""
    rows = ModelVersion.objects.filter(
        workspace=workspace_id, pk__in=versions, graph_files__run_id__isnull=False
    )
    return dict(rows.order_by().values_list("pk", "graph_files__run_id").distinct())


@dataclass(frozen=True)
class Scoring:
    """The run that wrote the profiles of a version, the last of several.

    Args:
        graph: The run that built the graph they are of.
    """

    run: uuid.UUID
    task: uuid.UUID
    iteration: int
    at: datetime | None
    users: int
    graph: uuid.UUID | None


def scorings(workspace_id: uuid.UUID, versions: Collection[str]) -> dict[str, Scoring]:
    """Who wrote the profiles last, by version; none for a version that never was in force."""
    if not versions:
        return {}
    own = ModelVersion.objects.filter(pk__in=versions).values("task_id")
    tasks = Task.objects.filter(Q(pk__in=own) | Q(base_version__in=versions))
    rows = (
        done(workspace_id, states.EMBEDDING)
        .filter(task__in=tasks, metrics__has_key="users")
        .order_by("finished_at", "pk")
        .values_list(
            KT("metrics__version"), "pk", "task", "iteration", "finished_at",
            "metrics__users", KT("metrics__graph"),
        )
    )  # fmt: skip
    requested = set(versions)
    last = {row[0]: row for row in rows if row[0] in requested}
    built = finished_runs(workspace_id, states.BUILDING, {row[2] for row in last.values()})
    return {
        version: Scoring(
            run, task, iteration, at, users,
            graph=uuid.UUID(graph) if graph else built.get((task, iteration)),
        )
        for version, run, task, iteration, at, users, graph in last.values()
    }  # fmt: skip


def with_profiles(workspace_id: uuid.UUID, versions: Collection[str]) -> set[str]:
    """The versions that profiles are of now."""
    profiles = Profile.objects.filter(workspace=workspace_id, model_version=OuterRef("pk"))
    rows = ModelVersion.objects.filter(Exists(profiles), workspace=workspace_id, pk__in=versions)
    return {str(pk) for pk in rows.values_list("pk", flat=True)}


def made_by(stored: object) -> tuple[str, int] | None:
    """Task and iteration, from ``made_by`` in the report of a derived dataset."""
    if stored is None:
        return None
    maker = MadeBy.from_dict(stored)
    return maker.task, maker.iteration
