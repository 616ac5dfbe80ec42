"""From what something was made: the one place that says which edges there are.

An edge leads from the nearest thing: an evaluation is of a version and of the graph that version
was trained on, so it has an edge from the version alone.
"""

import uuid
from collections.abc import Collection, Iterable
from typing import Any

from controlcenter.lineage import facts
from controlcenter.lineage.refs import (
    DATASET,
    EVALUATION,
    GRAPH,
    PROFILE,
    PROFILES,
    VERSION,
    Edge,
    Ref,
    by_kind,
    ref,
)
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks import states
from controlcenter.serving.profiles.models import Profile

Ids = Collection[Any]
"""Primary keys as text."""


def parents(workspace_id: uuid.UUID, refs: Iterable[Ref]) -> list[Edge]:
    """The edges into ``refs``, as many queries for many refs as for one."""
    ids = by_kind(refs)
    edges: list[Edge] = []
    for kind, of in OF_KIND.items():
        if ids[kind]:
            edges += of(workspace_id, ids[kind])
    return edges


def of_datasets(workspace_id: uuid.UUID, ids: Ids) -> list[Edge]:
    """A derived dataset: its source, and the evaluation whose suggestions it carried out."""
    rows = Dataset.objects.filter(workspace=workspace_id, pk__in=ids, source__isnull=False)
    edges, previous = [], {}
    for pk, source, origin in rows.values_list("pk", "source", "report__made_by"):
        edges.append(Edge(ref(DATASET, source), ref(DATASET, pk), "optimized"))
        maker = facts.made_by(origin)
        if maker is not None and maker[1] > 0:
            previous[pk] = (uuid.UUID(maker[0]), maker[1] - 1)
    reports = EvaluationReport.objects.filter(
        task__workspace=workspace_id, task__in={task for task, _ in previous.values()}
    )
    report_ids = {(task, it): pk for pk, task, it in reports.values_list("pk", "task", "iteration")}
    suggested = [
        Edge(ref(EVALUATION, report_ids[before]), ref(DATASET, pk), "suggested")
        for pk, before in previous.items()
        if before in report_ids
    ]
    return edges + suggested


def of_graphs(workspace_id: uuid.UUID, ids: Ids) -> list[Edge]:
    """A graph: the dataset its iteration worked on, else the graph of the base version."""
    rows = list(
        facts.done(workspace_id, states.BUILDING)
        .filter(pk__in=ids)
        .values_list("pk", "task", "iteration", "task__dataset", "task__base_version")
    )
    derived = facts.derived_datasets(workspace_id, {task for _, task, *_ in rows})
    bases = {base for *_, dataset, base in rows if dataset is None and base is not None}
    copied = facts.graphs_of(workspace_id, bases) if bases else {}
    edges = []
    for pk, task, iteration, dataset, base in rows:
        working = derived.get((task, iteration)) or dataset
        if working is not None:
            edges.append(Edge(ref(DATASET, working), ref(GRAPH, pk), "built"))
        elif base in copied:
            edges.append(Edge(ref(GRAPH, copied[base]), ref(GRAPH, pk), "taken over"))
    return edges


def of_versions(workspace_id: uuid.UUID, ids: Ids) -> list[Edge]:
    """A version: the graph it was trained on; of a fusion the version whose network it kept."""
    rows = list(
        ModelVersion.objects.filter(workspace=workspace_id, pk__in=ids).values_list("pk", "base")
    )
    graphs = facts.graphs_of(workspace_id, [pk for pk, base in rows if base is None])
    trained = [Edge(ref(GRAPH, g), ref(VERSION, pk), "trained") for pk, g in graphs.items()]
    fused = [Edge(ref(VERSION, base), ref(VERSION, pk), "fused") for pk, base in rows if base]
    return trained + fused


def of_evaluations(workspace_id: uuid.UUID, ids: Ids) -> list[Edge]:
    """A report: the version it is about."""
    rows = EvaluationReport.objects.filter(
        task__workspace=workspace_id, pk__in=ids, model_version__isnull=False
    )
    return [
        Edge(ref(VERSION, version), ref(EVALUATION, pk), "evaluated")
        for pk, version in rows.values_list("pk", "model_version")
    ]


def of_profiles(workspace_id: uuid.UUID, ids: Ids) -> list[Edge]:
    """The profiles of versions: the version, and the graph where it is a newer one."""
    edges = [Edge(ref(VERSION, pk), ref(PROFILES, pk), "scored") for pk in ids]
    scorings = facts.scorings(workspace_id, ids)
    own = facts.graphs_of(workspace_id, list(scorings))
    for version, scoring in scorings.items():
        if scoring.graph is not None and scoring.graph != own.get(uuid.UUID(version)):
            edges.append(Edge(ref(GRAPH, scoring.graph), ref(PROFILES, version), "scored"))
    return edges


def of_one_profile(workspace_id: uuid.UUID, ids: Ids) -> list[Edge]:
    """The profile of a user: what all profiles of its version were made from."""
    rows = Profile.objects.filter(
        workspace=workspace_id, user_id__in=ids, model_version__isnull=False
    )
    versions: dict[str, list[str]] = {}
    for user, version in rows.values_list("user_id", "model_version"):
        versions.setdefault(str(version), []).append(user)
    if not versions:
        return []
    return [
        Edge(edge.source, ref(PROFILE, user), edge.how)
        for edge in of_profiles(workspace_id, list(versions))
        for user in versions[edge.target.id]
    ]


OF_KIND = {
    DATASET: of_datasets,
    GRAPH: of_graphs,
    VERSION: of_versions,
    EVALUATION: of_evaluations,
    PROFILES: of_profiles,
    PROFILE: of_one_profile,
}
