"""Explain scores: all explanations that are pending in a workspace, in one run."""

import functools
import tempfile
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from msgspec import structs

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.services import fetch_all
from controlcenter.platform.log.edges import HISTORY_COLUMNS, edges_of_user
from controlcenter.platform.log.positions import BEGINNING, LogPosition
from controlcenter.platform.runs.commits import Commit
from controlcenter.serving.incremental.queries import present_graph
from controlcenter.serving.profiles.explanations import Explained, commit_explained, pending
from controlcenter.serving.profiles.models import (
    Explanation,
    ExplanationBackground,
    ExplanationView,
    Profile,
)
from ml.bundle import ModelBundle
from ml.contracts.reports.explanation import ExplanationReport
from ml.contracts.schema import GraphSchema
from ml.data.frames import EVENT_COLUMNS
from ml.explanation.counterfactual import counterfactual_user
from ml.explanation.explanation import Subject, explain_evidence, explain_flat, explain_groups
from ml.explanation.neighbourhood import NeighbourhoodIndex
from ml.explanation.neighbours import METHOD, strongest_neighbours
from ml.fusion.background import Background, zero_background
from ml.fusion.evidence import COUNT_PREFIX, gather_evidence
from ml.hgt.row_embedding import NodeStates, full_states
from workers.files import load_model, load_whole_graph
from workers.log_edges import load_position
from workers.runtime.execution import Execution
from workers.runtime.retries import STORE_PATIENCE

KEPT_MODELS = 4
KEPT_GRAPHS = 2
GraphFiles: TypeAlias = tuple[uuid.UUID, ...]
"""Artifacts in the order of their names."""


_scored_graphs: dict[uuid.UUID, tuple[GraphFiles, "ScoredGraph"]] = {}
"""By version, the last used last."""


@dataclass(frozen=True)
class ScoredGraph:
    """What surrounds the users that were scored.

    Args:
        states: Of every node, by one pass over the graph.
        position: Up to where the graph knows the event log.
    """

    index: NeighbourhoodIndex
    states: NodeStates
    position: LogPosition


def work(execution: Execution) -> None:
    """A run of the kind ``explaining``."""
    explanations, graph = pending_with_graph(execution.claim.workspace_id)
    results = []
    for number, explanation in enumerate(explanations):
        execution.progress(number / len(explanations), f"explaining {explanation.profile.user_id}")
        results.append(explained(explanation, graph))

    def effect(commit: Commit) -> None:
        commit_explained(commit, results)
        commit.metrics = {"explained": len(results)}

    execution.commit(effect)


def pending_with_graph(workspace_id: uuid.UUID) -> tuple[list[Explanation], GraphFiles]:
    """What to explain, with profiles as they are now, and the graph that they are of."""
    while True:
        graph = ids_of_graph(workspace_id)
        explanations = pending(workspace_id)
        if ids_of_graph(workspace_id) == graph:  # else a task replaced the profiles meanwhile
            return explanations, graph


def ids_of_graph(workspace_id: uuid.UUID) -> GraphFiles:
    return tuple(file.pk for file in present_graph(workspace_id))


def explained(explanation: Explanation, graph: GraphFiles) -> Explained:
    """One explanation, or why there is none."""
    profile = explanation.profile
    if profile.embedding is None or profile.model_version_id != explanation.model_version_id:
        return Explained(explanation.pk, None, "The score is gone: the profile was refreshed.")
    if explanation.view == ExplanationView.EVIDENCE and not graph:
        lost = f"The graph of {explanation.model_version} is gone: train a new version."
        return Explained(explanation.pk, None, lost)
    result = result_of(explanation, profile, graph)
    return Explained(explanation.pk, result.to_dict(), revision=profile.revision)


def result_of(explanation: Explanation, profile: Profile, graph: GraphFiles) -> ExplanationReport:
    model = model_of(explanation.model_version_id)
    frame = frame_of(profile, model.schema)
    evidence = gather_evidence(
        model.profile.rule_set,
        model.profile.encoder,
        frame,
        np.asarray(profile.embedding, np.float32)[None, :],
    )
    shown = {**profile.attributes, **counts_of(profile)}
    subject = Subject(evidence, shown, stored_score=profile.final_score)
    background = model.background
    if explanation.background == ExplanationBackground.ZERO:
        background = zero_background(evidence)
    if explanation.view == ExplanationView.GROUPS:
        return explain_groups(model.profile, subject, background)
    if explanation.view == ExplanationView.FLAT:
        return explain_flat(model.profile, subject, background, seed=seed_of(model))
    scored = scored_graph_of(explanation.model_version_id, graph)
    return by_evidence(profile, model, scored, subject, frame, background)


def by_evidence(
    profile: Profile,
    model: ModelBundle,
    scored: ScoredGraph,
    subject: Subject,
    frame: pl.DataFrame,
    background: Background,
) -> ExplanationReport:
    """Rules and kinds of evidence, and the strongest neighbours.

    The user's edges are those of the graph and of the events that the score knows since;
    the neighbours' states are those of the graph.
    """
    since = edges_of_user(
        profile.workspace_id,
        profile.user_id,
        since=scored.position.snapshot,
        before=known_until(profile),
    )
    types = {name: EVENT_COLUMNS[name] for name in HISTORY_COLUMNS}
    events = pl.DataFrame(since, schema=types, orient="row")
    around = scored.index.of(profile.user_id, events)
    user = counterfactual_user(model.model, model.encoder, scored.states, around, frame)
    result = explain_evidence(model.profile, subject, background, user.embed, seed=seed_of(model))
    neighbours = strongest_neighbours(
        model.profile, user, scored.index.graph, subject.evidence, frame
    )
    sizes = {
        row.player: -abs(row.contribution) for row in result.contributions if row.kind == "events"
    }
    neighbours.sort(key=lambda effects: sizes[effects.player])
    notes = [*result.notes, METHOD]
    if around.unknown:
        notes.append(
            f"{around.unknown} neighbours came after the graph of these scores and are left out."
        )
    return structs.replace(result, neighbours=neighbours, notes=notes)


def known_until(profile: Profile) -> datetime | None:
    """Events that came before this moment are in the score, those after it are not."""
    moments = [m for m in (profile.changed_at, profile.scored_at) if m is not None]
    return min(moments, default=None)


def seed_of(model: ModelBundle) -> int:
    return int(model.lineage["seed"])


def counts_of(profile: Profile) -> dict[str, int]:
    return {f"{COUNT_PREFIX}{kind}": count for kind, count in profile.scored_counts.items()}


def frame_of(profile: Profile, schema: GraphSchema) -> pl.DataFrame:
    """The profile as it was when it was scored, one row."""
    types: dict[str, Any] = {"user_id": pl.String}
    row: dict[str, Any] = {"user_id": profile.user_id}
    for feature in schema.user.features:
        types[feature.name] = pl.Float64 if feature.kind == "numeric" else pl.String
        row[feature.name] = profile.attributes.get(feature.name)
    for event in schema.event_types:
        types[f"{COUNT_PREFIX}{event}"] = pl.Int64
        row[f"{COUNT_PREFIX}{event}"] = profile.scored_counts.get(event)
    return pl.DataFrame([row], schema=types)


@functools.lru_cache(maxsize=KEPT_MODELS)
def model_of(version_id: uuid.UUID) -> ModelBundle:
    """The model of a version; versions never change, so it may be kept."""
    version = ModelVersion.objects.get(pk=version_id)
    with tempfile.TemporaryDirectory(prefix="ups-model-") as folder:
        files = version.files.all()
        return load_model(fetch_all(files, Path(folder), patience=STORE_PATIENCE), "cpu")


def scored_graph_of(version_id: uuid.UUID, files: GraphFiles) -> ScoredGraph:
    """A graph and its states by a version; kept as the model is, but fewer: they are large."""
    cached = _scored_graphs.pop(version_id, None)
    if cached is None or cached[0] != files:
        del cached  # before the next one takes its room
        while len(_scored_graphs) >= KEPT_GRAPHS:
            _scored_graphs.pop(next(iter(_scored_graphs)))
        cached = files, load_scored_graph(version_id, files)
    _scored_graphs[version_id] = cached
    return cached[1]


def load_scored_graph(version_id: uuid.UUID, files: GraphFiles) -> ScoredGraph:
    model = model_of(version_id)
    with tempfile.TemporaryDirectory(prefix="ups-graph-") as name:
        artifacts = Artifact.objects.filter(pk__in=files)
        folder = fetch_all(artifacts, Path(name), patience=STORE_PATIENCE)
        graph, position = load_whole_graph(folder), load_position(folder)
    states = full_states(model.model, model.encoder, graph, now=model.now)
    index = NeighbourhoodIndex(graph, model.model.ages(model.now))
    return ScoredGraph(index, states, position or BEGINNING)
