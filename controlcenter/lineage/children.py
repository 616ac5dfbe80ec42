"""What was made from something.

Each function here only proposes: a child counts where ``parents`` says that it has the edge, so
the two directions cannot disagree.
"""

import uuid
from collections.abc import Iterable
from typing import Any

from django.db.models import Q
from django.db.models.fields.json import KT

from controlcenter.lineage import facts
from controlcenter.lineage.parents import Ids, parents
from controlcenter.lineage.refs import (
    DATASET,
    EVALUATION,
    GRAPH,
    PROFILES,
    VERSION,
    Ref,
    by_kind,
    ref,
)
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import StageRun


def children(workspace_id: uuid.UUID, refs: Iterable[Ref], limit: int) -> tuple[list[Ref], bool]:
    """What was made from ``refs``, the newest of each kind first.

    Args:
        limit: Rows that are looked at, of each kind.

    Returns:
        The children, and whether there were more rows than the limit.
    """
    sources = set(refs)
    ids = by_kind(sources)
    proposed: dict[Ref, None] = {}
    cut = False
    for kind, of in OF_KIND.items():
        for rows in of(workspace_id, ids[kind]) if ids[kind] else []:
            batch = list(rows[: limit + 1])
            cut |= len(batch) > limit
            proposed |= dict.fromkeys(batch[:limit])
    having = {e.target for e in parents(workspace_id, proposed) if e.source in sources}
    return [child for child in proposed if child in having], cut


class Refs:
    """A query as refs of one kind; read as far as it is sliced."""

    def __init__(self, kind: str, rows: Any) -> None:
        self.kind, self.rows = kind, rows

    def __getitem__(self, part: slice) -> list[Ref]:
        return [ref(self.kind, pk) for pk in self.rows[part] if pk is not None]


def of_datasets(workspace_id: uuid.UUID, ids: Ids) -> list[Refs]:
    """Datasets that were derived from them, graphs that were built from these or from those."""
    rows = Dataset.objects.filter(workspace=workspace_id, pk__in=ids)
    makers = [facts.made_by(origin) for origin in rows.values_list("report__made_by", flat=True)]
    tasks = [uuid.UUID(maker[0]) for maker in makers if maker is not None]
    optimized = facts.done(workspace_id, states.OPTIMIZING)
    users = optimized.filter(Q(task__in=tasks) | Q(reuses__task__in=tasks)).values("task")
    graphs = facts.done(workspace_id, states.BUILDING).filter(
        Q(task__dataset__in=ids) | Q(task__in=users), reuses__isnull=True
    )
    derived = Dataset.objects.filter(workspace=workspace_id, source__in=ids)
    return [
        Refs(DATASET, derived.order_by("-created_at").values_list("pk", flat=True)),
        Refs(GRAPH, graphs.order_by("-created_at").values_list("pk", flat=True)),
    ]


def of_graphs(workspace_id: uuid.UUID, ids: Ids) -> list[Refs]:
    """Versions that were trained on them, graphs that took them over, profiles that are of them."""
    versions = ModelVersion.objects.filter(workspace=workspace_id, graph_files__run_id__in=ids)
    same = versions.values("pk")
    copies = facts.done(workspace_id, states.BUILDING).filter(
        task__dataset__isnull=True, task__base_version__in=same, reuses__isnull=True
    )
    users = StageRun.objects.filter(Q(pk__in=ids) | Q(reuses__in=ids), kind=states.BUILDING)
    scored = facts.done(workspace_id, states.EMBEDDING).filter(
        Q(task__in=users.values("task")) | Q(metrics__graph__in=[str(pk) for pk in ids]),
        metrics__has_key="users",
    )
    profiles = scored.order_by().values_list(KT("metrics__version"), flat=True).distinct()
    return [
        Refs(VERSION, versions.order_by("-number").values_list("pk", flat=True).distinct()),
        Refs(GRAPH, copies.order_by("-created_at").values_list("pk", flat=True)),
        Refs(PROFILES, profiles),
    ]


def of_versions(workspace_id: uuid.UUID, ids: Ids) -> list[Refs]:
    """Versions that are fusions of them, reports about them, profiles that they scored."""
    fused = ModelVersion.objects.filter(workspace=workspace_id, base__in=ids)
    reports = EvaluationReport.objects.filter(task__workspace=workspace_id, model_version__in=ids)
    scored = set(facts.scorings(workspace_id, ids)) | facts.with_profiles(workspace_id, ids)
    return [
        Refs(VERSION, fused.order_by("-number").values_list("pk", flat=True)),
        Refs(EVALUATION, reports.order_by("-created_at").values_list("pk", flat=True)),
        Refs(PROFILES, [pk for pk in ids if pk in scored]),
    ]


def of_evaluations(workspace_id: uuid.UUID, ids: Ids) -> list[Refs]:
    """Datasets that were derived by their suggestions."""
    reports = EvaluationReport.objects.filter(task__workspace=workspace_id, pk__in=ids)
    tasks = {task for task, _ in reports.values_list("task", "iteration")}
    derived = facts.derived_datasets(workspace_id, tasks)
    return [Refs(DATASET, [derived[key] for key in sorted(derived, reverse=True)])]


OF_KIND = {
    DATASET: of_datasets,
    GRAPH: of_graphs,
    VERSION: of_versions,
    EVALUATION: of_evaluations,
}
