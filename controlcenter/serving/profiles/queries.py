"""Reads of profiles: look-alikes, the frame that rules are previewed on, where users are shown."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import polars as pl
from django.db import connection, transaction
from django.urls import reverse
from pgvector.django import CosineDistance

from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.common.formatting import validated
from controlcenter.serving.profiles.models import Profile
from ml.contracts.schema import GraphSchema
from ml.rules.rule_set import compile_rule, with_fields


@dataclass(frozen=True)
class LookAlike:
    """A user with an embedding like that of another.

    Args:
        similarity: Cosine of the embeddings, -1 to 1.
        score_validated: None where there is no score.
        stale_since: Since when its score may lack events; None: it lacks none, or nobody looked.
    """

    user_id: str
    similarity: float
    final_score: float | None
    score_validated: bool | None
    stale_since: datetime | None = None


@dataclass(frozen=True)
class RulePreview:
    """What a rule would match now.

    Args:
        users: How many were looked at.
        share: Of them, 0 to 1.
        sample: Ids of the first that match, in order.
        milliseconds: Time of the evaluation, without loading.
    """

    matches: int
    users: int
    share: float
    sample: list[str]
    fields_used: list[str]
    milliseconds: float


@transaction.atomic
def similar(profile: Profile, limit: int) -> list[LookAlike]:
    """Look-alikes of a user, nearest first; exact, by looking at all of the workspace's users.

    An index of the vectors would make this faster and every refresh many times slower.
    """
    nearest = (
        Profile.objects.filter(
            workspace=profile.workspace_id,
            embedding__isnull=False,
            model_version=profile.model_version_id,  # vectors of two models have no angle
        )
        .exclude(pk=profile.pk)
        .annotate(distance=CosineDistance("embedding", profile.embedding))
        .order_by("distance", "user_id")
        .values_list("user_id", "distance", "final_score", "score_basis")
    )
    return [
        LookAlike(user_id, 1.0 - distance, score, validated(basis))
        for user_id, distance, score, basis in nearest[:limit]
    ]


def rule_frame(workspace: Workspace, schema: GraphSchema) -> pl.DataFrame:
    """All users as the rule compiler wants them.

    Shapes:
        One row a user: ``user_id``, the attributes, and ``event_counts.<type>`` (null: none).
    """
    columns: list[str] = ["user_id"]
    selected = ["user_id"]
    parameters: list[str] = []
    types: dict[str, Any] = {"user_id": pl.String}
    for feature in schema.user.features:
        numeric = feature.kind == "numeric"
        cast = "::float8" if numeric else ""
        selected.append(f"(attributes ->> %s){cast}")
        parameters.append(feature.name)
        columns.append(feature.name)
        types[feature.name] = pl.Float64 if numeric else pl.String
    for event in schema.event_types:
        selected.append(
            "nullif(coalesce((base_counts ->> %s)::bigint, 0) "
            "+ coalesce((live_counts ->> %s)::bigint, 0), 0)"
        )
        parameters += [event, event]
        columns.append(f"event_counts.{event}")
        types[f"event_counts.{event}"] = pl.Int64
    query = f"SELECT {', '.join(selected)} FROM profiles_profile WHERE workspace_id = %s"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(query, [*parameters, workspace.pk])
        rows = cursor.fetchall()
    return pl.DataFrame(rows, schema=types, orient="row")


def preview(workspace: Workspace, expression: str, limit: int) -> RulePreview:
    """How many users a rule matches now, which, and in how long.

    Raises:
        RuleError: if the expression does not fit the workspace's schema.
    """
    schema = workspace.graph_schema
    rule = compile_rule(expression, schema)
    frame = rule_frame(workspace, schema)
    # A rule may ask for events that the schema does not know: nobody has any.
    frame = with_fields(frame, dict.fromkeys(rule.fields - set(frame.columns), "number"))
    begin = time.perf_counter()
    matches = frame.filter(rule.column(frame))
    milliseconds = (time.perf_counter() - begin) * 1000
    return RulePreview(
        matches=matches.height,
        users=frame.height,
        share=matches.height / frame.height if frame.height else 0.0,
        sample=matches["user_id"].sort().head(limit).to_list(),
        fields_used=sorted(rule.fields),
        milliseconds=milliseconds,
    )


def user_pages(workspace_id: UUID, user_ids: Collection[str]) -> dict[str, str]:
    """The pages of users in the admin, by user id, of those that are there."""
    rows = Profile.objects.filter(workspace=workspace_id, user_id__in=user_ids)
    return {
        user_id: reverse("admin:profiles_profile_change", args=[key])
        for user_id, key in rows.values_list("user_id", "pk")
    }
