"""Bring what the loop refreshed into the profiles: a few rows at a time, as events come."""

import json
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.platform.log.positions import LogPosition
from controlcenter.platform.runs.claims import Claim
from controlcenter.serving.incremental.holder import confirm
from controlcenter.serving.profiles.counting import share_with_refresh
from controlcenter.serving.profiles.merging import vector
from controlcenter.serving.profiles.models import Profile


@dataclass(frozen=True)
class RefreshedUser:
    """One user's score as it is now.

    Args:
        scored_counts: Events by type that the score was made of.
        embedding: 64 floats.
        rule_hits: Rule name → hit.
    """

    user_id: str
    scored_counts: dict[str, int]
    embedding: Sequence[float]
    rule_hits: dict[str, bool]
    rule_score: float
    model_score: float
    gate: float
    final_score: float


@dataclass(frozen=True)
class RefreshedItem:
    """The embedding of a product or an app as it is now."""

    type: str
    item_id: str
    embedding: Sequence[float]


# Rows are locked in the order of the ids, as ingestion locks them: nobody waits in a circle.
LOCK_USERS = """
SELECT 1 FROM profiles_profile WHERE workspace_id = %(workspace)s AND user_id = ANY(%(ids)s)
ORDER BY user_id FOR NO KEY UPDATE
"""

WRITE_USERS = """
UPDATE profiles_profile AS p SET
    scored_counts = n.scored_counts, embedding = n.embedding::vector, rule_hits = n.rule_hits,
    rule_score = n.rule_score, model_score = n.model_score, gate = n.gate,
    final_score = n.final_score, score_basis = %(basis)s, model_version_id = %(version)s,
    rule_revision = %(rule_revision)s, scored_at = statement_timestamp(),
    changed_at = CASE
        WHEN p.changed_xid IS NULL THEN NULL
        WHEN pg_visible_in_snapshot(p.changed_xid, %(position)s::pg_snapshot) THEN NULL
        ELSE greatest(p.changed_at, %(position_at)s) END,
    revision = p.revision + 1
FROM unnest(%(ids)s::text[], %(counts)s::jsonb[], %(embeddings)s::text[], %(hits)s::jsonb[],
    %(rules)s::float8[], %(models)s::float8[], %(gates)s::float8[], %(finals)s::float8[])
    AS n(user_id, scored_counts, embedding, rule_hits, rule_score, model_score, gate, final_score)
WHERE p.workspace_id = %(workspace)s AND p.user_id = n.user_id
    AND (p.model_version_id = %(version)s OR p.model_version_id IS NULL)
"""

# Whether an item has a version says that a task knew it: a later one that does not removes it.
WRITE_ITEMS = """
UPDATE profiles_item AS i SET embedding = n.embedding::vector
FROM unnest(%(types)s::text[], %(ids)s::text[], %(embeddings)s::text[]) AS n(type, id, embedding)
WHERE i.workspace_id = %(workspace)s AND i.type = n.type AND i.item_id = n.id
    AND (i.model_version_id = %(version)s OR i.model_version_id IS NULL)
"""


@contextmanager
def tick_transaction(claim: Claim, generation: int) -> Iterator[None]:
    """The transaction of a tick: under the claim, and never while a task replaces the profiles.

    Raises:
        Fenced: if the run is not this claim's any more.
        Superseded: if a task replaced the profiles.
    """
    with transaction.atomic():
        share_with_refresh(claim.workspace_id)
        confirm(claim, generation)
        yield


def read_users(workspace_id: uuid.UUID, user_ids: Collection[str]) -> list[dict[str, Any]]:
    """Attributes and counts of users as they are now; who has no profile is left out."""
    rows = Profile.objects.filter(workspace=workspace_id, user_id__in=list(user_ids))
    return list(rows.values("user_id", "attributes", "base_counts", "live_counts"))


def write_users(
    users: Sequence[RefreshedUser],
    *,
    workspace_id: uuid.UUID,
    version: ModelVersion,
    basis: str,
    position: LogPosition,
) -> None:
    """Update the rows of users, in a tick's transaction; writing them again changes no value.

    Args:
        position: The position in the log up to which these scores know the events.
    """
    if not users:
        return
    names: dict[str, Any] = {
        "workspace": workspace_id,
        "version": version.pk,
        "basis": basis,
        "rule_revision": version.rule_revision,
        "position": position.snapshot,
        "position_at": position.at,
        "ids": [user.user_id for user in users],
        "counts": [json.dumps(user.scored_counts) for user in users],
        "embeddings": [vector(user.embedding) for user in users],
        "hits": [json.dumps(user.rule_hits) for user in users],
        "rules": [user.rule_score for user in users],
        "models": [user.model_score for user in users],
        "gates": [user.gate for user in users],
        "finals": [user.final_score for user in users],
    }
    with connection.cursor() as cursor:
        cursor.execute(LOCK_USERS, names)
        cursor.execute(WRITE_USERS, names)


def write_items(
    items: Sequence[RefreshedItem], *, workspace_id: uuid.UUID, version: ModelVersion
) -> None:
    """Update the embeddings of products and apps, in a tick's transaction."""
    if not items:
        return
    names: dict[str, Any] = {
        "workspace": workspace_id,
        "version": version.pk,
        "types": [item.type for item in items],
        "ids": [item.item_id for item in items],
        "embeddings": [vector(item.embedding) for item in items],
    }
    with connection.cursor() as cursor:
        cursor.execute(WRITE_ITEMS, names)
