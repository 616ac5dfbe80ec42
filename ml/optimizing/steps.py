"""What a step of the optimizing did to the tables: counts before and after, reasons, examples."""

from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from ml.contracts.reports.dataset import RowChange
from ml.data.frames import NAMES, Tables

EXAMPLES = 5
"""Examples that a change shows; all rows are counted."""


def count_rows(tables: Tables) -> dict[str, int]:
    """Rows by table, and events by name of the edge type."""
    counts = {name: getattr(tables, name).height for name in NAMES}
    by_type = tables.events.group_by("type", "target_type").len()
    by_kind = {(kind, target): rows for kind, target, rows in by_type.iter_rows()}
    for edge in tables.schema.edges:
        counts[edge.name] = by_kind.get((edge.event, edge.target), 0)
    return counts


def changes_of(
    what: Literal["removed", "added"], table: str, rows: pl.DataFrame, id_column: str
) -> tuple[RowChange, ...]:
    """One change a reason, in alphabetical order.

    Args:
        rows: The rows of the table, with a column ``reason``.
    """
    changes = []
    for (reason,), part in rows.group_by(["reason"], maintain_order=True):
        first = part.head(EXAMPLES).iter_rows(named=True)
        changes.append(
            RowChange(
                what=what,
                table=table,
                reason=str(reason),
                rows=part.height,
                examples=[_example(row, id_column) for row in first],
            )
        )
    return tuple(sorted(changes, key=lambda change: change.reason))


def _example(row: Mapping[str, Any], id_column: str) -> str:
    if row[id_column] is not None or id_column != "event_id":
        return repr(row[id_column]) if not (row[id_column] or "").strip() else row[id_column]
    return f"{row['actor']} {row['type']} {row['target']}"
