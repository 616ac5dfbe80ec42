"""From refreshed embeddings to rows of the profiles."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from controlcenter.serving.profiles.incremental_writes import (
    RefreshedItem,
    RefreshedUser,
    read_users,
)
from ml.bundle import ModelBundle
from ml.contracts.schema import USER, GraphSchema
from ml.fusion.evidence import COUNT_PREFIX
from ml.fusion.scoring import score_users

Rows = tuple[list[str], npt.NDArray[np.float32]]
"""Ids and embeddings. Shapes: [n], [n, 64]."""


def score(workspace_id: uuid.UUID, model: ModelBundle, rows: Rows) -> list[RefreshedUser]:
    """Scores of users by their present attributes and counts; who has no profile is left out."""
    place = {user_id: row for row, user_id in enumerate(rows[0])}
    users = read_users(workspace_id, rows[0]) if place else []
    if not users:
        return []
    frame = frame_of(users, model.schema)
    embedding = rows[1][[place[user_id] for user_id in frame["user_id"]]]
    scores = score_users(model.profile, frame, embedding)
    rules = [rule.name for rule in model.profile.rules]
    counted = frame.select(pl.col(f"^{COUNT_PREFIX}.*$")).iter_rows(named=True)
    return [
        RefreshedUser(
            user_id=row["user_id"],
            scored_counts={
                name.removeprefix(COUNT_PREFIX): count for name, count in counts.items() if count
            },
            embedding=row["embedding"],
            rule_hits={name: name in row["rule_hits"] for name in rules},
            rule_score=row["rule_score"],
            model_score=row["model_score"],
            gate=row["gate"],
            final_score=row["final_score"],
        )
        for row, counts in zip(scores.iter_rows(named=True), counted, strict=True)
    ]


def frame_of(users: Sequence[dict[str, Any]], schema: GraphSchema) -> pl.DataFrame:
    """Users as rules and fusion want them: attributes, and counts of the dataset and the log."""
    types: dict[str, Any] = {"user_id": pl.String}
    for feature in schema.user.features:
        types[feature.name] = pl.Float64 if feature.kind == "numeric" else pl.String
    types |= {f"{COUNT_PREFIX}{event}": pl.Int64 for event in schema.event_types}
    rows = []
    for user in users:
        base, live = user["base_counts"], user["live_counts"]
        counts = {
            f"{COUNT_PREFIX}{event}": base.get(event, 0) + live.get(event, 0) or None
            for event in schema.event_types
        }
        attributes = {name: user["attributes"].get(name) for name in types if name != "user_id"}
        rows.append({**attributes, **counts, "user_id": user["user_id"]})
    return pl.DataFrame(rows, schema=types)


def items_of(embeddings: Mapping[str, Rows]) -> list[RefreshedItem]:
    """Products and apps among refreshed rows."""
    return [
        RefreshedItem(node_type, item_id, embedding)
        for node_type, (ids, vectors) in embeddings.items()
        if node_type != USER
        for item_id, embedding in zip(ids, vectors.tolist(), strict=True)
    ]
