"""What reading an upload found, and what was done to make a derived dataset."""

from collections.abc import Mapping
from typing import Literal

from ml.contracts.reports.base import Report, added, nothing

Scalar = bool | int | float | str | None


class RowCounts(Report, frozen=True, kw_only=True):
    """Rows of a table."""

    rows_read: int
    rows_kept: int
    rows_rejected: int


class TableCounts(RowCounts, frozen=True, kw_only=True):
    """Counts of one table of an upload.

    Args:
        values_rejected: Values made missing; their rows are kept.
        reasons: Rejected rows by reason; ``value_reasons``: values made missing by reason.
        blanks: Empty cells by column.
    """

    values_rejected: int
    reasons: dict[str, int]
    value_reasons: dict[str, int]
    blanks: dict[str, int]


class RejectedEntry(Report, frozen=True, kw_only=True):
    """A row that was left out, or a value that was made missing.

    Args:
        effect: ``row`` or ``value``.
    """

    table: str
    file: str
    line: int
    column: str
    value: str | None
    reason: str
    effect: str


class FileRead(Report, frozen=True, kw_only=True):
    """A file of an upload; encoding and delimiter are None where it has none."""

    name: str
    table: str
    encoding: str | None
    delimiter: str | None
    columns: list[str]


class UploadReport(RowCounts, frozen=True, kw_only=True):
    """What reading a dataset found.

    Args:
        rejected: The first entries; all are counted in ``tables``.
        duplicates: By table: rows left out because their id was there before.
        dangling: By node type: events that point at an id no table has; the node was created.
        created: By node type: nodes created with default (missing) features.
        made_events: Events made from the product columns of a wide table.
        times_without_zone: Times taken as UTC.
        time_range: First and last time of the events, ISO 8601.
        label: Users by label: ``positive``, ``negative``, ``missing``; None without a label.
        label_values: Rows by value of the label.
        warnings: Sentences for a person.
    """

    tables: dict[str, TableCounts]
    rejected: list[RejectedEntry]
    duplicates: dict[str, int]
    dangling: dict[str, int]
    created: dict[str, int]
    created_users: int
    made_events: int
    times_without_zone: int
    files: list[FileRead]
    time_range: tuple[str, str] | None
    label: dict[str, int] | None
    label_values: dict[str, int] = added(dict)
    warnings: list[str]


class RowChange(Report, frozen=True, kw_only=True):
    """Rows of one table that a step removed or added, for one reason.

    Args:
        examples: Of the first rows: the id, or who did what where an event has none.
    """

    what: Literal["removed", "added"]
    table: str
    reason: str
    rows: int
    examples: list[str]


class OptimizingStep(Report, frozen=True, kw_only=True):
    """One step over the tables. A step that found nothing to do has equal counts.

    Args:
        before: Rows by table and events by name of the edge type; ``after``: the same keys.
        changes: For each table, ``before - removed + added = after``.
        because: The evidence that the suggestion gave; empty for steps that are always done.
    """

    name: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    changes: list[RowChange]
    parameters: Mapping[str, Scalar] = added(dict)
    because: str = added(str)


class DerivedTable(RowCounts, frozen=True, kw_only=True):
    """``rows_read - rows_rejected + rows_added = rows_kept``.

    Args:
        reasons: Removed rows by reason.
    """

    rows_added: int
    reasons: dict[str, int]


class MadeBy(Report, frozen=True, kw_only=True):
    """Task and iteration that a derived dataset is of."""

    task: str
    iteration: int = added(int)


class DerivationReport(RowCounts, frozen=True, kw_only=True):
    """How a derived dataset was made from its source: the steps, and their sums by table."""

    tables: dict[str, DerivedTable]
    rows_added: int
    steps: list[OptimizingStep]
    made_by: MadeBy | None = added(nothing)


def dataset_report(stored: object) -> UploadReport | DerivationReport:
    """The report of a dataset, by how it was made.

    Raises:
        ReportError: if it is neither.
    """
    derived = isinstance(stored, dict) and "steps" in stored
    return DerivationReport.from_dict(stored) if derived else UploadReport.from_dict(stored)
