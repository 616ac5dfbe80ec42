"""Keep the first of rows that say the same."""

from dataclasses import replace
from typing import Any

import polars as pl

from ml.contracts.reports.dataset import RowChange
from ml.data.frames import Tables
from ml.optimizing.cleaning import blank
from ml.optimizing.steps import changes_of

FACT = ("type", "actor", "target", "target_type", "timestamp")


def deduplicate(tables: Tables) -> tuple[Tables, tuple[RowChange, ...]]:
    """The tables with each node id, each event id and each timed fact once; the first is kept.

    Two events without a time are two events: nothing says that they are the same one.
    """
    changes: list[RowChange] = []
    frames: dict[str, Any] = {}
    for node in tables.schema.nodes:
        again = ~pl.col(node.id_column).is_first_distinct()
        frame, removed = _split(tables.nodes(node.name), again, "id was there before")
        changes += changes_of("removed", node.table, removed, node.id_column)
        frames[node.table] = frame
    again = ~blank("event_id") & ~pl.col("event_id").is_first_distinct()
    events, same_id = _split(tables.events, again, "event_id was there before")
    again = pl.col("timestamp").is_not_null() & ~pl.struct(FACT).is_first_distinct()
    frames["events"], same = _split(events, again, "same type, ends and time as one before")
    changes += changes_of("removed", "events", pl.concat([same_id, same]), "event_id")
    return replace(tables, **frames), tuple(changes)


def _split(rows: pl.DataFrame, where: pl.Expr, reason: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    return rows.filter(~where), rows.filter(where).with_columns(reason=pl.lit(reason))
