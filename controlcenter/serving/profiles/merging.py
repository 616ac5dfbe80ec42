"""Bring a refresh's users, items and scores into the profiles, within its commit.

What is slow (COPY into temporary tables) happens before ingestion is held back; only the merge
itself runs under the lock.
"""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.log.positions import LogPosition
from controlcenter.serving.incremental.services import profiles_replaced
from controlcenter.serving.profiles.counting import exclude_ingestion


@dataclass(frozen=True)
class ScoredUser:
    """One user as the embedding stage leaves them.

    Args:
        base_counts: Events of the dataset by type, without those of the event log.
        scored_counts: Events by type that the score was made of, those of the log included.
        embedding: 64 floats.
        rule_hits: Rule name → hit.
        recommendations: Offers with reasons, best first.
    """

    user_id: str
    attributes: dict[str, Any]
    label: bool | None
    base_counts: dict[str, int]
    scored_counts: dict[str, int]
    last_event_at: datetime | None
    embedding: Sequence[float]
    rule_hits: dict[str, bool]
    rule_score: float
    model_score: float
    gate: float
    final_score: float
    recommendations: list[dict[str, Any]]


@dataclass(frozen=True)
class EmbeddedItem:
    """A product or an app with its embedding."""

    type: str
    item_id: str
    attributes: dict[str, Any]
    embedding: Sequence[float]


STAGE = """
CREATE TEMPORARY TABLE staged_user (
    user_id text, attributes jsonb, label boolean, base_counts jsonb, scored_counts jsonb,
    last_event_at timestamptz,
    embedding vector, rule_hits jsonb, rule_score float8, model_score float8, gate float8,
    final_score float8, recommendations jsonb
) ON COMMIT DROP;
CREATE TEMPORARY TABLE staged_item (
    type text, item_id text, attributes jsonb, embedding vector
) ON COMMIT DROP;
CREATE TEMPORARY TABLE staged_peer (user_id text, peer_id text) ON COMMIT DROP;
"""

MERGE_USERS = """
INSERT INTO profiles_profile AS p
    (workspace_id, user_id, attributes, label, base_counts, scored_counts, last_event_at,
     embedding, rule_hits, rule_score, model_score, gate, final_score, recommendations,
     score_basis, model_version_id, rule_revision, scored_at)
SELECT %(workspace)s, user_id, attributes, label, base_counts, scored_counts, last_event_at,
     embedding, rule_hits, rule_score, model_score, gate, final_score, recommendations,
     %(basis)s, %(version)s, %(rule_revision)s, statement_timestamp()
FROM staged_user ORDER BY user_id
ON CONFLICT (workspace_id, user_id) DO UPDATE SET
    attributes = EXCLUDED.attributes, label = EXCLUDED.label, base_counts = EXCLUDED.base_counts,
    scored_counts = EXCLUDED.scored_counts,
    last_event_at = greatest(p.live_last_event_at, EXCLUDED.last_event_at),
    embedding = EXCLUDED.embedding, rule_hits = EXCLUDED.rule_hits,
    rule_score = EXCLUDED.rule_score, model_score = EXCLUDED.model_score, gate = EXCLUDED.gate,
    final_score = EXCLUDED.final_score, recommendations = EXCLUDED.recommendations,
    score_basis = EXCLUDED.score_basis, model_version_id = EXCLUDED.model_version_id,
    rule_revision = EXCLUDED.rule_revision, scored_at = EXCLUDED.scored_at,
    changed_at = CASE
        WHEN p.changed_xid IS NULL THEN NULL
        WHEN pg_visible_in_snapshot(p.changed_xid, %(position)s::pg_snapshot) THEN NULL
        ELSE greatest(p.changed_at, %(position_at)s) END,
    revision = p.revision + 1
"""

CLEAR_OTHERS = """
UPDATE profiles_profile p SET embedding = NULL, rule_hits = NULL, rule_score = NULL,
    model_score = NULL, gate = NULL, final_score = NULL, recommendations = NULL, score_basis = '',
    model_version_id = NULL, rule_revision = NULL, scored_at = NULL, base_counts = '{}',
    scored_counts = '{}', last_event_at = live_last_event_at, revision = p.revision + 1
WHERE workspace_id = %(workspace)s AND model_version_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM staged_user s WHERE s.user_id = p.user_id)
"""

MERGE_ITEMS = (
    """
    DELETE FROM profiles_item i WHERE workspace_id = %(workspace)s AND model_version_id IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM staged_item s WHERE s.type = i.type AND s.item_id = i.item_id)
    """,
    """
    UPDATE profiles_item i SET embedding = NULL
    WHERE workspace_id = %(workspace)s AND model_version_id IS NULL AND embedding IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM staged_item s WHERE s.type = i.type AND s.item_id = i.item_id)
    """,
    """
    INSERT INTO profiles_item (workspace_id, type, item_id, attributes, embedding, model_version_id)
    SELECT %(workspace)s, type, item_id, attributes, embedding, %(version)s FROM staged_item
    ORDER BY type, item_id
    ON CONFLICT (workspace_id, type, item_id) DO UPDATE SET attributes = EXCLUDED.attributes,
        embedding = EXCLUDED.embedding, model_version_id = EXCLUDED.model_version_id
    """,
)

MERGE_PEERS = (
    """
    UPDATE profiles_callpeer SET in_dataset = false
    WHERE workspace_id = %(workspace)s AND in_dataset
    """,
    """
    INSERT INTO profiles_callpeer (workspace_id, user_id, peer_id, in_dataset)
    SELECT DISTINCT %(workspace)s::uuid, user_id, peer_id, true FROM staged_peer
    ON CONFLICT (workspace_id, user_id, peer_id) DO UPDATE SET in_dataset = true
    """,
    """
    DELETE FROM profiles_callpeer
    WHERE workspace_id = %(workspace)s AND NOT in_dataset AND NOT in_log
    """,
    """
    UPDATE profiles_profile p SET call_peers = coalesce(c.n, 0)
    FROM profiles_profile q LEFT JOIN (
        SELECT user_id, count(*) AS n FROM profiles_callpeer WHERE workspace_id = %(workspace)s
        GROUP BY user_id
    ) c ON c.user_id = q.user_id
    WHERE p.id = q.id AND q.workspace_id = %(workspace)s AND p.call_peers <> coalesce(c.n, 0)
    """,
)

USER_COLUMNS = (
    "user_id, attributes, label, base_counts, scored_counts, last_event_at, embedding, "
    "rule_hits, rule_score, model_score, gate, final_score, recommendations"
)


def vector(values: Sequence[float]) -> str:
    """An embedding as pgvector reads it."""
    return "[" + ",".join(map(repr, values)) + "]"


def merge(
    *,
    workspace_id: uuid.UUID,
    version: ModelVersion,
    basis: str,
    users: Iterable[ScoredUser],
    items: Iterable[EmbeddedItem],
    peers: Iterable[tuple[str, str]],
    graph: Iterable[Artifact],
    position: LogPosition | None = None,
) -> int:
    """Replace what the profiles know from datasets and models, in the caller's transaction.

    A user who is not among ``users`` belongs to another dataset: scores are cleared, because they
    are not of this version; attributes and what the log counted stay.

    Args:
        basis: What the score was trained on: ``label``, ``future behaviour`` or ``rules``.
        peers: (user, called user), each pair once.
        graph: The files of the graph that was embedded.
        position: The position in the log up to which events are in this; None: not known.

    Returns:
        How many users were scored.
    """
    names: dict[str, Any] = {
        "workspace": workspace_id,
        "version": version.pk,
        "rule_revision": version.rule_revision,
        "basis": basis,
        "position": position.snapshot if position else None,
        "position_at": position.at if position else None,
    }
    with connection.cursor() as cursor:
        cursor.execute(STAGE)
        count = 0
        with cursor.copy(f"COPY staged_user ({USER_COLUMNS}) FROM STDIN") as copy:
            for user in users:
                copy.write_row(user_row(user))
                count += 1
        with cursor.copy("COPY staged_item FROM STDIN") as copy:
            for item in items:
                row = (item.type, item.item_id, json.dumps(item.attributes), vector(item.embedding))
                copy.write_row(row)
        with cursor.copy("COPY staged_peer FROM STDIN") as copy:
            for pair in peers:
                copy.write_row(pair)
        cursor.execute("ANALYZE staged_user; ANALYZE staged_item; ANALYZE staged_peer")
        exclude_ingestion(workspace_id)
        for statement in (MERGE_USERS, CLEAR_OTHERS, *MERGE_ITEMS, *MERGE_PEERS):
            cursor.execute(statement, names)
    profiles_replaced(workspace_id=workspace_id, version=version, graph=graph, position=position)
    return count


def user_row(user: ScoredUser) -> tuple[Any, ...]:
    """A user in the order of ``USER_COLUMNS``."""
    return (
        user.user_id,
        json.dumps(user.attributes),
        user.label,
        json.dumps(user.base_counts),
        json.dumps(user.scored_counts),
        user.last_event_at,
        vector(user.embedding),
        json.dumps(user.rule_hits),
        user.rule_score,
        user.model_score,
        user.gate,
        user.final_score,
        json.dumps(user.recommendations),
    )
