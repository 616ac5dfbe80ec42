"""What a step of the optimizing did to the tables: counts before and after, reasons, examples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from ml.data.frames import NAMES, Tables

EXAMPLES = 5
"""Examples that a change shows; all rows are counted."""


@dataclass(frozen=True)
class Change:
    """Rows of one table that a step removed or added, for one reason.

    Args:
        examples: Of the first rows: the id, or who did what where an event has none.
    """

    what: Literal["removed", "added"]
    table: str
    reason: str
    rows: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One step over the tables. A step that found nothing to do has equal counts.

    Args:
        before: Rows by table and events by name of the edge type.
        after: The same keys.
        changes: For each table, ``before - removed + added = after``.
        because: The evidence that the suggestion gave; empty for steps that are always done.
    """

    name: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    changes: tuple[Change, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    because: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return {
            "name": self.name,
            "parameters": dict(self.parameters),
            "before": dict(self.before),
            "after": dict(self.after),
            "changes": [
                {**vars(change), "examples": list(change.examples)} for change in self.changes
            ],
            "because": self.because,
        }


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
) -> tuple[Change, ...]:
    """One change a reason, in alphabetical order.

    Args:
        rows: The rows of the table, with a column ``reason``.
    """
    changes = []
    for (reason,), part in rows.group_by(["reason"], maintain_order=True):
        first = part.head(EXAMPLES).iter_rows(named=True)
        examples = tuple(_example(row, id_column) for row in first)
        changes.append(Change(what, table, str(reason), part.height, examples))
    return tuple(sorted(changes, key=lambda change: change.reason))


def _example(row: Mapping[str, Any], id_column: str) -> str:
    if row[id_column] is not None or id_column != "event_id":
        return repr(row[id_column]) if not (row[id_column] or "").strip() else row[id_column]
    return f"{row['actor']} {row['type']} {row['target']}"
