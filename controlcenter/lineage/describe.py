"""Describes the things of the lineage, each kind from the rows of its room."""

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from django.db.models import Count, Sum

from controlcenter.lineage import facts
from controlcenter.lineage.files import digest, files_of, files_size
from controlcenter.lineage.node import DERIVED, Node, numbers, text, texts
from controlcenter.lineage.refs import (
    DATASET,
    EVALUATION,
    GRAPH,
    PROFILE,
    PROFILES,
    VERSION,
    Ref,
    by_kind,
    ref,
)
from controlcenter.modelling.datasets.models import Dataset, DatasetState
from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.evaluations.queries import SCORE_VALIDATED
from controlcenter.modelling.registry.models import ActiveVersion, ModelVersion
from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import StageRun
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.common.formatting import validated
from controlcenter.serving.profiles.models import Profile
from ml.contracts.reports.base import ReportError, read
from ml.contracts.reports.dataset import RowCounts
from ml.contracts.reports.graph import GraphReport
from ml.contracts.reports.suggestions import Suggestion

TABLES = ("users", "products", "apps", "events")
Ids = Collection[str]
Numbers = dict[str, float]
UNREADABLE = "its report cannot be read"


def describe(workspace_id: uuid.UUID, refs: Iterable[Ref]) -> list[Node]:
    """A node for each ref that has a row, in their order."""
    refs = list(refs)
    ids = by_kind(refs)
    nodes: dict[Ref, Node] = {}
    for kind, of in OF_KIND.items():
        if ids[kind]:
            nodes |= {node.ref: node for node in of(workspace_id, ids[kind])}
    return [nodes[reference] for reference in refs if reference in nodes]


def datasets(workspace_id: uuid.UUID, ids: Ids) -> list[Node]:
    """Raw and derived datasets."""
    rows = list(
        Dataset.objects.filter(workspace=workspace_id, pk__in=ids).values(
            "pk", "name", "state", "source", "created_at", "sha256", "schema_hash", "size",
            "checked_run_id", "report__tables", "report__made_by",
        )
    )  # fmt: skip
    makers = {row["pk"]: facts.made_by(row["report__made_by"]) for row in rows}
    tasks = {uuid.UUID(maker[0]) for maker in makers.values() if maker}
    runs = facts.finished_runs(workspace_id, states.OPTIMIZING, tasks)
    return [dataset_node(row, makers[row["pk"]], runs) for row in rows]


def dataset_node(
    row: dict[str, Any], maker: tuple[str, int] | None, runs: Mapping[facts.Iteration, uuid.UUID]
) -> Node:
    """One dataset.

    Args:
        maker: The task and iteration that derived it; None: an upload, or nobody wrote it down.
        runs: The runs that optimized, by task and iteration.
    """
    run = row["checked_run_id"]
    if run is None and maker is not None:
        run = runs.get((uuid.UUID(maker[0]), maker[1]))
    state, kept = counted(row["state"], lambda: rows_kept(row["report__tables"]))
    return Node(
        ref=ref(DATASET, row["pk"]),
        kind=DERIVED if row["source"] else DATASET,
        name=row["name"],
        at=row["created_at"],
        state=state,
        run=text(run),
        task=maker[0] if maker else None,
        iteration=maker[1] if maker else None,
        exists=row["state"] != DatasetState.DELETED,
        numbers=kept | numbers(bytes=row["size"]),
        hashes=texts(sha256=row["sha256"], schema=row["schema_hash"]),
    )


def counted(state: str, count: Callable[[], Numbers]) -> tuple[str, Numbers]:
    """The state of a thing and its numbers; a report that cannot be read is said in the state."""
    try:
        return state, count()
    except ReportError:
        return f"{state}, {UNREADABLE}" if state else UNREADABLE, {}


def rows_kept(stored: object) -> dict[str, float]:
    """Rows by table, from the report of a dataset; none before it has one."""
    if stored is None:
        return {}
    tables = read(dict[str, RowCounts], stored, what="the report's tables")
    return {name: tables[name].rows_kept for name in TABLES if name in tables}


def graphs(workspace_id: uuid.UUID, ids: Ids) -> list[Node]:
    """Graphs, by the runs that built them."""
    rows = StageRun.objects.filter(workspace=workspace_id, pk__in=ids).select_related("task")
    files = files_of(ids)
    return [graph_node(run, files[run.pk]) for run in rows]


def graph_node(run: StageRun, files: list[Artifact]) -> Node:
    """One graph.

    Args:
        files: Of the run; none: they were removed.
    """
    state, size = counted("", lambda: sizes(run.metrics))
    return Node(
        ref=ref(GRAPH, run.pk),
        kind=GRAPH,
        name=f"graph of {run.task}" + (f", iteration {run.iteration}" if run.iteration else ""),
        at=run.finished_at,
        state=state,
        run=text(run.pk),
        task=text(run.task_id),
        iteration=run.iteration,
        exists=bool(files),
        numbers=size | files_size(files),
        hashes=texts(files=digest(files)),
    )


def sizes(stored: object) -> dict[str, float]:
    """Nodes by type, and events, from the metrics of a building."""
    graph = GraphReport.from_dict(stored)
    nodes = {f"{name}_nodes": count for name, count in graph.nodes.items()}
    return numbers(**nodes, events=graph.events, events_of_the_log=graph.events_of_the_log)


def versions(workspace_id: uuid.UUID, ids: Ids) -> list[Node]:
    """Model versions."""
    rows = (
        ModelVersion.objects.filter(workspace=workspace_id, pk__in=ids)
        .annotate(count=Count("files"), bytes=Sum("files__size"))
        .values(
            "pk", "number", "task_id", "iteration", "created_at", "schema_hash", "code_version",
            "rule_revision", "count", "bytes",
        )
    )  # fmt: skip
    trained = facts.finished_runs(workspace_id, states.TRAINING, {row["task_id"] for row in rows})
    active = set(
        ActiveVersion.objects.filter(workspace=workspace_id).values_list("version", flat=True)
    )
    return [
        Node(
            ref=ref(VERSION, row["pk"]),
            kind=VERSION,
            name=f"version {row['number']}",
            at=row["created_at"],
            state="active" if row["pk"] in active else "",
            run=text(trained.get((row["task_id"], row["iteration"]))),
            task=text(row["task_id"]),
            iteration=row["iteration"],
            numbers=numbers(
                files=row["count"], bytes=row["bytes"], rule_revision=row["rule_revision"]
            ),
            hashes=texts(schema=row["schema_hash"], code=row["code_version"]),
        )
        for row in rows
    ]


def evaluations(workspace_id: uuid.UUID, ids: Ids) -> list[Node]:
    """Evaluation reports."""
    rows = list(
        EvaluationReport.objects.filter(task__workspace=workspace_id, pk__in=ids).values(
            "pk", "task", "iteration", "created_at", "metrics", "report__suggestions",
            score_validated=SCORE_VALIDATED,
        )
    )  # fmt: skip
    runs = facts.finished_runs(workspace_id, states.EVALUATING, {row["task"] for row in rows})
    return [evaluation_node(row, runs) for row in rows]


def evaluation_node(row: dict[str, Any], runs: Mapping[facts.Iteration, uuid.UUID]) -> Node:
    """One report.

    Args:
        runs: The runs that evaluated, by task and iteration.
    """
    state, first = counted("", lambda: headline(row["metrics"], row["report__suggestions"]))
    return Node(
        ref=ref(EVALUATION, row["pk"]),
        kind=EVALUATION,
        name=f"evaluation of iteration {row['iteration']}",
        at=row["created_at"],
        state=state,
        run=text(runs.get((row["task"], row["iteration"]))),
        task=text(row["task"]),
        iteration=row["iteration"],
        numbers=first,
        score_validated=row["score_validated"],
    )


def headline(metrics: object, suggestions: object) -> dict[str, float]:
    """The metrics that people ask for first, and how much is suggested."""
    by_name = read(dict[str, float], metrics, what="the metrics of an evaluation")
    first = {name: by_name.get(name) for name in ("links.mrr", "score.auc")}
    suggested = read(list[Suggestion], suggestions, what="the suggestions of an evaluation")
    return numbers(**first, suggestions=len(suggested))


def profiles(workspace_id: uuid.UUID, ids: Ids) -> list[Node]:
    """All profiles of a version, by the version's id."""
    scorings = facts.scorings(workspace_id, ids)
    existing = facts.with_profiles(workspace_id, ids)
    rows = ModelVersion.objects.filter(workspace=workspace_id, pk__in=ids)
    nodes = []
    for pk, number in rows.values_list("pk", "number"):
        scoring = scorings.get(str(pk))
        nodes.append(
            Node(
                ref=ref(PROFILES, pk),
                kind=PROFILES,
                name=f"profiles of version {number}",
                at=scoring.at if scoring else None,
                run=text(scoring.run) if scoring else None,
                task=text(scoring.task) if scoring else None,
                iteration=scoring.iteration if scoring else None,
                exists=str(pk) in existing,
                numbers=numbers(users=scoring.users) if scoring else {},
            )
        )
    return nodes


def one_profile(workspace_id: uuid.UUID, ids: Ids) -> list[Node]:
    """Profiles of single users, by the user's id."""
    rows = Profile.objects.filter(workspace=workspace_id, user_id__in=ids).values(
        "user_id", "model_version", "scored_at", "created_at", "revision", "final_score",
        "score_basis",
    )  # fmt: skip
    version_ids = {str(row["model_version"]) for row in rows if row["model_version"]}
    scorings = facts.scorings(workspace_id, version_ids)
    nodes = []
    for row in rows:
        scoring = scorings.get(str(row["model_version"]))
        nodes.append(
            Node(
                ref=ref(PROFILE, row["user_id"]),
                kind=PROFILE,
                name=row["user_id"],
                at=row["scored_at"] or row["created_at"],
                run=text(scoring.run) if scoring else None,
                task=text(scoring.task) if scoring else None,
                iteration=scoring.iteration if scoring else None,
                numbers=numbers(revision=row["revision"], score=row["final_score"]),
                score_validated=validated(row["score_basis"]),
            )
        )
    return nodes


OF_KIND = {
    DATASET: datasets,
    GRAPH: graphs,
    VERSION: versions,
    EVALUATION: evaluations,
    PROFILES: profiles,
    PROFILE: one_profile,
}
