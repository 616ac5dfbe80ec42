"""The lineage around a dataset, a task, a model version, a user, or what is active now."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from controlcenter.lineage import facts
from controlcenter.lineage.describe import describe
from controlcenter.lineage.node import Node
from controlcenter.lineage.refs import (
    DATASET,
    EVALUATION,
    GRAPH,
    PROFILE,
    PROFILES,
    VERSION,
    Edge,
    Ref,
    ref,
)
from controlcenter.lineage.walk import LIMIT, surroundings
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.registry.models import ActiveVersion, ModelVersion
from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task
from controlcenter.serving.profiles.models import Profile


@dataclass(frozen=True)
class Lineage:
    """A part of the lineage with what is known of each thing.

    Args:
        starts: Keys of the nodes it is around.
    """

    starts: list[str]
    nodes: list[Node]
    edges: list[Edge]
    truncated: bool


def around(
    workspace_id: uuid.UUID, starts: Iterable[Ref], inputs: Iterable[Ref] = (), limit: int = LIMIT
) -> Lineage:
    """What some things were made from and what was made from them, described."""
    part = surroundings(workspace_id, starts, inputs, limit)
    nodes = describe(workspace_id, part.refs)
    existing = {node.ref for node in nodes}
    keys = [start.key for start in part.starts if start in existing]
    edges = [edge for edge in part.edges if {edge.source, edge.target} <= existing]
    return Lineage(keys, nodes, edges, part.truncated)


def of_dataset(dataset: Dataset, limit: int = LIMIT) -> Lineage:
    """Around a dataset, raw or derived."""
    return around(dataset.workspace_id, [ref(DATASET, dataset.pk)], limit=limit)


def of_version(version: ModelVersion, limit: int = LIMIT) -> Lineage:
    """Around a model version."""
    return around(version.workspace_id, [ref(VERSION, version.pk)], limit=limit)


def of_user(profile: Profile, limit: int = LIMIT) -> Lineage:
    """What the profile of a user was made from."""
    return around(profile.workspace_id, [ref(PROFILE, profile.user_id)], limit=limit)


def of_task(task: Task, limit: int = LIMIT) -> Lineage:
    """Around all that a task made or took over from the one it is a retry of.

    Of what it was given, its dataset and its base version, only the ancestors are shown: other
    tasks used them too.
    """
    inputs = [(DATASET, task.dataset_id), (VERSION, task.base_version_id)]
    ancestors = [ref(kind, pk) for kind, pk in inputs if pk is not None]
    return around(task.workspace_id, made_by_task(task), ancestors, limit)


def of_active(workspace_id: uuid.UUID, limit: int = LIMIT) -> Lineage:
    """Around the active version of a workspace; nothing where there is none."""
    pointer = ActiveVersion.objects.filter(workspace=workspace_id).first()
    starts = [ref(VERSION, pointer.version_id)] if pointer else []
    return around(workspace_id, starts, limit=limit)


def made_by_task(task: Task) -> list[Ref]:
    """What the finished stages of a task left, iteration by iteration."""
    tasks, home = [task.pk], task.workspace_id
    scored = facts.done(home, states.EMBEDDING).filter(task=task, metrics__has_key="users")
    versions = ModelVersion.objects.filter(task_id=task.pk).order_by("iteration")
    reports = EvaluationReport.objects.filter(task=task).order_by("iteration")
    scored_versions = scored.order_by("iteration").values_list("metrics__version", flat=True)
    products: list[tuple[str, Iterable[Any]]] = [
        (DATASET, facts.derived_datasets(home, tasks).values()),
        (GRAPH, facts.finished_runs(home, states.BUILDING, tasks).values()),
        (VERSION, versions.values_list("pk", flat=True)),
        (EVALUATION, reports.values_list("pk", flat=True)),
        (PROFILES, scored_versions),
    ]
    return [ref(kind, pk) for kind, rows in products for pk in rows if pk is not None]
