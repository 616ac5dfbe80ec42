"""Embed every node, score and advise every user, and complete the task."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.registry.services import Trained
from controlcenter.modelling.rollouts.services import activate
from controlcenter.modelling.tasks import iterations, states
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.versions import register_version
from controlcenter.modelling.tasks.workflows import path
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.runs.commits import Commit
from controlcenter.serving.profiles.merging import EmbeddedItem, ScoredUser, merge
from ml.bundle import ModelBundle
from ml.contracts.schema import USER
from ml.fusion.evidence import COUNT_PREFIX, profile_frame
from ml.fusion.scoring import score_users
from ml.graph.graph import Graph
from ml.hgt.model import embed
from ml.recommendation.recommend import recommend, recommended_edges
from workers.files import (
    COUNTS,
    LAST_EVENTS,
    PEERS,
    built_files,
    fetch,
    load_model,
    load_whole_graph,
    scored_files,
    trained_files,
)
from workers.log_edges import load_position
from workers.runtime.device import for_task
from workers.runtime.errors import PermanentError
from workers.runtime.execution import Execution
from workers.version_record import VersionRecord


def work(execution: Execution) -> None:
    """The stage ``embedding``: model and graph → profiles, and the version that is active now."""
    task = Task.objects.select_related("base_version", "workspace").get(pk=execution.claim.owner_id)
    execution.progress(0.0, "fetching model and graph")
    graph_files, model_files = built_files(task), trained_files(task)
    model_folder = fetch(execution, model_files, "model")
    model = load_model(model_folder, for_task(task.parameters["device"]))
    if not best_so_far(task, model):
        register_alone(execution, task, model, model_folder, model_files, graph_files)
        return
    scored = scored_files(task)
    built = fetch(execution, scored, "in")
    graph = load_whole_graph(built)
    execution.progress(0.2, f"embedding {sum(graph.num_nodes.values())} nodes")
    check_times(model, graph)
    embeddings = embed(model.model, model.encoder, graph, now=model.now)
    execution.progress(0.4, "scoring")
    frame = profile_frame(graph)
    scores = score_users(model.profile, frame, embeddings[USER])
    execution.progress(0.5, "choosing what to offer")
    scorers = {
        target: model.decoder.scorer(edge, graph, embeddings)
        for target, edge in recommended_edges(graph).items()
    }
    offers = recommend(graph, embeddings, scorers)
    execution.progress(0.7, "writing the profiles")
    labels = None if graph.labels is None else graph.labels.tolist()
    table = assemble(frame, scores, offers_of(offers, graph), built, labels)
    peers = pl.read_parquet(built / PEERS)
    trains = states.TRAINING in path(task.workflow, task.mode)
    record = VersionRecord.load(model_folder) if trains else None

    def effect(commit: Commit) -> None:
        if record is not None:
            trained = trained_from(task, record, model, model_files, graph_files)
            version = register_version(task, trained)
        else:
            version = task.base_version
        assert isinstance(version, ModelVersion)
        # Also where nothing was trained: profiles and pointer must name the same version.
        activate(version, actor="worker", reason=f"task {task.pk} completed")
        users = merge(
            workspace_id=task.workspace_id,
            version=version,
            basis=model.metrics.score.target,
            users=scored_users(table, model),
            items=embedded_items(graph, embeddings),
            peers=peers.iter_rows(),
            graph=scored,
            position=load_position(built),
        )
        commit.metrics = {
            "users": users, "version": str(version.pk), "graph": str(scored[0].run_id)
        }  # fmt: skip

    execution.commit(effect)


def check_times(model: ModelBundle, graph: Graph) -> None:
    """Raises: PermanentError if the model goes by the ages of edges, and none has a time."""
    if model.model.config.edge_ages and graph.num_events and not graph.has_times:
        raise PermanentError(
            "The version learned from the times of events (temporal), and the graph has none: "
            "leave keep_timestamps true, or train a new version."
        )


def best_so_far(task: Task, model: ModelBundle) -> bool:
    """Whether the profiles are to be of this iteration: it beats those before it."""
    earlier = iterations.best(iterations.scores(task))
    if earlier is None:
        return True
    value = value_of(model, iterations.metric_of(task))
    return value is not None and value > earlier.value


def value_of(model: ModelBundle, metric: str) -> float | None:
    """What a model reached in a metric; None where that was not measured."""
    return model.metrics.by_name().get(metric)


def register_alone(
    execution: Execution,
    task: Task,
    model: ModelBundle,
    folder: Path,
    files: list[Artifact],
    graph_files: list[Artifact],
) -> None:
    """Keep the version of an iteration that is not the best; profiles stay as they are."""
    record = VersionRecord.load(folder)

    def effect(commit: Commit) -> None:
        version = register_version(task, trained_from(task, record, model, files, graph_files))
        commit.metrics = {"version": str(version.pk), "kept": False}

    execution.commit(effect)


def trained_from(
    task: Task,
    record: VersionRecord,
    model: ModelBundle,
    files: list[Artifact],
    graph_files: list[Artifact],
) -> Trained:
    return Trained(
        version_id=record.id_for(task),
        schema=model.schema.to_dict(),
        schema_hash=model.schema.hash,
        rule_revision=record.rule_revision,
        rules=record.rules,
        rules_sitting_out=record.rules_sitting_out,
        metrics=model.metrics.to_dict(),
        code_version=record.code_version,
        files=files,
        graph_files=graph_files,
    )


def assemble(
    frame: pl.DataFrame,
    scores: pl.DataFrame,
    offers: pl.DataFrame,
    built: Path,
    labels: list[int] | None,
) -> pl.DataFrame:
    """Everything that is known of each user, a row each."""
    counts = pl.read_parquet(built / COUNTS)
    base = counts.rename(
        {name: f"base {name}" for name in counts.columns if name.startswith(COUNT_PREFIX)}
    )
    label = pl.Series("label value", labels or [-1] * frame.height, dtype=pl.Int8)
    joined = frame.with_columns(label)
    for other in (scores, base, pl.read_parquet(built / LAST_EVENTS), offers):
        joined = joined.join(other, on="user_id", how="left", maintain_order="left")
    return joined


def offers_of(offers: pl.DataFrame, graph: Graph) -> pl.DataFrame:
    """The offers of each user as one list of structs, with names for people."""
    names = []
    for node in graph.schema.nodes:
        if node.name != USER and "name" in node.names("categorical"):
            labels = graph.features[node.name]["name"]
            ids = pl.Series("target_id", graph.node_ids[node.name], dtype=pl.String)
            names.append(
                pl.DataFrame({"target_id": ids, "name": labels}).with_columns(
                    target_type=pl.lit(node.name)
                )
            )
    if names:
        offers = offers.join(pl.concat(names), on=["target_type", "target_id"], how="left")
    else:
        offers = offers.with_columns(name=pl.lit(None, dtype=pl.String))
    entry = pl.struct(
        type="target_type", item_id="target_id", name="name", score="score", reasons="reasons"
    )
    order = offers.sort("user_id", "target_type", "rank", descending=[False, True, False])
    return order.group_by("user_id", maintain_order=True).agg(offers=entry)


def scored_users(table: pl.DataFrame, model: ModelBundle) -> Iterator[ScoredUser]:
    """Rows of the table as the profiles take them."""
    features = [feature.name for feature in model.schema.user.features]
    events = model.schema.event_types
    rules = [rule.name for rule in model.profile.rules]
    for row in table.iter_rows(named=True):
        hits = set(row["rule_hits"])
        yield ScoredUser(
            user_id=row["user_id"],
            attributes={name: row[name] for name in features if row[name] is not None},
            label=None if row["label value"] < 0 else bool(row["label value"]),
            base_counts=counts_in(row, f"base {COUNT_PREFIX}", events),
            scored_counts=counts_in(row, COUNT_PREFIX, events),
            last_event_at=row["timestamp"],
            embedding=row["embedding"],
            rule_hits={name: name in hits for name in rules},
            rule_score=row["rule_score"],
            model_score=row["model_score"],
            gate=row["gate"],
            final_score=row["final_score"],
            recommendations=row["offers"] or [],
        )


def counts_in(row: dict[str, Any], prefix: str, events: tuple[str, ...]) -> dict[str, int]:
    return {event: row[prefix + event] for event in events if row[prefix + event]}


def embedded_items(graph: Graph, embeddings: Mapping[str, np.ndarray]) -> Iterator[EmbeddedItem]:
    """Products and apps with their attributes."""
    for node in graph.schema.nodes:
        if node.name == USER:
            continue
        rows = graph.features[node.name].to_dicts() or [{}] * len(graph.node_ids[node.name])
        for item_id, row, embedding in zip(
            graph.node_ids[node.name], rows, embeddings[node.name].tolist(), strict=True
        ):
            attributes = {name: value for name, value in row.items() if value is not None}
            yield EmbeddedItem(node.name, item_id, attributes, embedding)
