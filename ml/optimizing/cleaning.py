"""Remove what cannot be a row: ids that are missing, events that fit nothing, dangling edges."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from ml.contracts.reports.dataset import RowChange
from ml.contracts.schema import GraphSchema
from ml.data.frames import Tables
from ml.optimizing.steps import changes_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AHEAD = timedelta(days=1)
"""How far a clock may be ahead, as in the checks of an upload."""


def clean(tables: Tables, *, now: datetime) -> tuple[Tables, tuple[RowChange, ...]]:
    """The tables without rows that cannot be.

    Nodes go first: an event at a node that was removed is a dangling edge. A row that is wrong in
    several ways is counted for the first reason alone.

    Args:
        now: With a zone. The future begins a day later.
    """
    changes: list[RowChange] = []
    frames: dict[str, Any] = {}
    for node in tables.schema.nodes:
        frame = tables.nodes(node.name)
        reason = pl.when(blank(node.id_column)).then(pl.lit("missing id"))
        frames[node.table], removed = _without(frame, reason)
        changes += changes_of("removed", node.table, removed, node.id_column)
    cleaned = replace(tables, **frames)
    events, removed = _without(_with_ends(cleaned), _verdict(tables.schema, now))
    changes += changes_of("removed", "events", removed, "event_id")
    return replace(cleaned, events=events.select(tables.events.columns)), tuple(changes)


def blank(column: str) -> pl.Expr:
    """Whether a text is null, empty or white space."""
    return pl.col(column).is_null() | (pl.col(column).str.strip_chars() == "")


def _without(rows: pl.DataFrame, reason: pl.Expr) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows without a reason, and those with one (in the column ``reason``)."""
    judged = rows.with_columns(reason=reason)
    bad = pl.col("reason").is_not_null()
    return judged.filter(~bad).drop("reason"), judged.filter(bad)


def _with_ends(tables: Tables) -> pl.DataFrame:
    """The events with a column for each end and node type: whether the id is one of its nodes."""
    ends = {("actor", edge.source) for edge in tables.schema.edges}
    ends |= {("target", edge.target) for edge in tables.schema.edges}
    known = {
        f"{end} is {name}": pl.col(end).is_in(
            tables.nodes(name)[tables.schema.node(name).id_column].drop_nulls().implode()
        )
        for end, name in sorted(ends)
    }
    return tables.events.with_columns(**known)


def _verdict(schema: GraphSchema, now: datetime) -> pl.Expr:
    fits = {
        edge: (pl.col("type") == edge.event) & (pl.col("target_type") == edge.target)
        for edge in schema.edges
    }
    actor = _any(fit & pl.col(f"actor is {edge.source}") for edge, fit in fits.items())
    target = _any(fit & pl.col(f"target is {edge.target}") for edge, fit in fits.items())
    checks = [
        (blank("actor"), "missing actor"),
        (blank("target"), "missing target"),
        (blank("type"), "missing type"),
        (blank("target_type"), "missing target_type"),
        (~_any(fits.values()), "no edge of this type to this target_type"),
        (pl.col("timestamp") < EPOCH, "time before 1970"),
        (pl.col("timestamp") > now + AHEAD, "time in the future"),
        (~actor, "dangling edge: the actor is no node"),
        (~target, "dangling edge: the target is no node"),
    ]
    return pl.coalesce(pl.when(wrong).then(pl.lit(why)) for wrong, why in checks)


def _any(conditions: Iterable[pl.Expr]) -> pl.Expr:
    return pl.any_horizontal(pl.lit(value=False), *conditions)
