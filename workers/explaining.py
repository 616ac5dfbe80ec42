"""Explain scores: all explanations that are pending in a workspace, in one run."""

import functools
import tempfile
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from controlcenter.artifacts.services import fetch_all
from controlcenter.profiles.explanations import Explained, commit_explained, pending
from controlcenter.profiles.models import Explanation, Profile
from controlcenter.registry.models import ModelVersion
from controlcenter.tasks.runs import Commit
from ml.artifact import Artifact as Model
from ml.data.schema import GraphSchema
from ml.profile.evidence import COUNT_PREFIX, gather_evidence
from ml.profile.explanation import Subject, explain_groups
from workers.inputs import load_model
from workers.runtime import STORE_PATIENCE, Execution

KEPT_MODELS = 4


def work(execution: Execution) -> None:
    """A run of the kind ``explaining``."""
    asked = pending(execution.claim.workspace_id)
    results = []
    for number, explanation in enumerate(asked):
        execution.progress(number / len(asked), f"explaining {explanation.profile.user_id}")
        results.append(explained(explanation))

    def effect(commit: Commit) -> None:
        commit_explained(commit, results)
        commit.metrics = {"explained": len(results)}

    execution.commit(effect)


def explained(explanation: Explanation) -> Explained:
    """One explanation, or why there is none."""
    profile = explanation.profile
    if profile.embedding is None or profile.model_version_id != explanation.model_version_id:
        return Explained(explanation.pk, None, "The score is gone: the profile was refreshed.")
    model = model_of(explanation.model_version_id)
    evidence = gather_evidence(
        model.profile.rule_set,
        model.profile.encoder,
        frame_of(profile, model.schema),
        np.asarray(profile.embedding, np.float32)[None, :],
    )
    subject = Subject(
        evidence, {**profile.attributes, **counts_of(profile)}, stored_score=profile.final_score
    )
    return Explained(explanation.pk, explain_groups(model.profile, subject, model.background))


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
def model_of(version_id: uuid.UUID) -> Model:
    """The model of a version; versions never change, so it may be kept."""
    version = ModelVersion.objects.get(pk=version_id)
    with tempfile.TemporaryDirectory(prefix="ups-model-") as folder:
        files = version.files.all()
        return load_model(fetch_all(files, Path(folder), patience=STORE_PATIENCE), "cpu")
