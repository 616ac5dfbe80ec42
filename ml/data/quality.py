"""The quality report of a dataset: what was read, kept, rejected, and why. Nothing goes unseen."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ml.contracts.reports.dataset import FileRead, RejectedEntry, TableCounts, UploadReport

LINE = "line number"
"""Column of a batch with the line (CSV) or row (Parquet, from 1) that each row began at."""
SHOWN_CHARACTERS = 200
LABEL_VALUES = 1000
"""Different values of a label that are counted; the ten most frequent are shown."""


@dataclass(frozen=True)
class Rejected:
    """One row that was left out, or one value that was made missing.

    Args:
        effect: ``row`` or ``value``.
        value: What stood there, cut to 200 characters.
    """

    table: str
    file: str
    line: int
    column: str
    value: str | None
    reason: str
    effect: str


@dataclass
class TableQuality:
    """Counts of one table. ``rows_read == rows_kept + sum(reasons.values())``, always.

    Args:
        reasons: Rejected rows by reason.
        value_reasons: Values made missing (their rows are kept) by reason.
        blanks: Empty cells by column: missing values, no errors.
        bad: Values made missing, by column.
        formats: How the numbers of a text column are written, by column; see
            ``ml.data.read_warnings.count_number_formats``.
    """

    rows_read: int = 0
    rows_kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    value_reasons: Counter[str] = field(default_factory=Counter)
    blanks: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    formats: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @property
    def rows_rejected(self) -> int:
        return sum(self.reasons.values())

    def report(self) -> TableCounts:
        return TableCounts(
            rows_read=self.rows_read,
            rows_kept=self.rows_kept,
            rows_rejected=self.rows_rejected,
            values_rejected=sum(self.value_reasons.values()),
            reasons=dict(self.reasons),
            value_reasons=dict(self.value_reasons),
            blanks=dict(self.blanks),
        )


@dataclass
class FileQuality:
    """Counts of one file of a table, for warnings.

    Args:
        reasons: Rejected rows by reason.
        examples: The first row of each reason.
    """

    rows_read: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Rejected] = field(default_factory=dict)


@dataclass
class QualityReport:
    """What reading a dataset found.

    Args:
        tables: Counts by table.
        by_file: Counts by table and file.
        rejected: The first entries, at most ``shown``; all are counted in ``tables``.
        duplicates: By table: rows left out because their id was there before.
        dangling: By node type: events that point at an id no table has; the node was created.
        created: By node type: nodes created with default (missing) features.
        made_events: Events made from the product columns of a wide table.
        times_without_zone: Times taken as UTC.
        files: What was read: name, table, encoding, delimiter, columns.
        time_range: First and last time of the events, ISO 8601.
        label: Users by label: ``positive``, ``negative``, ``missing``; None without a label.
        label_values: Values of the label as they are written, with their rows.
        warnings: Sentences for a person.
    """

    shown: int = 1000
    tables: dict[str, TableQuality] = field(default_factory=dict)
    by_file: dict[tuple[str, str], FileQuality] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    duplicates: Counter[str] = field(default_factory=Counter)
    dangling: Counter[str] = field(default_factory=Counter)
    created: Counter[str] = field(default_factory=Counter)
    made_events: int = 0
    times_without_zone: int = 0
    files: list[FileRead] = field(default_factory=list)
    time_range: tuple[str, str] | None = None
    label: dict[str, int] | None = None
    label_values: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)

    @property
    def created_users(self) -> int:
        return self.created["user"]

    def table(self, name: str) -> TableQuality:
        """The counts of a table, begun at zero."""
        return self.tables.setdefault(name, TableQuality())

    def file(self, table: str, name: str) -> FileQuality:
        """The counts of a file, begun at zero."""
        return self.by_file.setdefault((table, name), FileQuality())

    def saw_rows(self, table: str, file: str, rows: int) -> None:
        """Count rows that were read."""
        self.table(table).rows_read += rows
        self.file(table, file).rows_read += rows

    def saw_label(self, values: pl.Series) -> None:
        """Count values of the label, so many of them that memory doesn't grow with the file."""
        cut = values.drop_nulls().str.slice(0, SHOWN_CHARACTERS + 1).alias("value")
        counts = cut.value_counts().sort("count", "value")
        for value, count in counts.reverse().iter_rows():
            if value in self.label_values or len(self.label_values) < LABEL_VALUES:
                self.label_values[value] += count

    def warn(self, message: str) -> None:
        """Add a sentence, once."""
        if message not in self.warnings:
            self.warnings.append(message)

    def reject(self, entry: Rejected) -> None:
        """Count one row or value and show it if there is room."""
        self._count(entry, 1)
        self._show(entry)

    def reject_frame(self, table: str, file: str, bad: pl.DataFrame, effect: str) -> None:
        """Count and show many.

        Args:
            bad: Columns LINE, ``column``, ``value`` (text), ``reason``; a row each.
        """
        counts = bad.group_by("reason").agg(pl.len(), pl.col(LINE, "column", "value").first())
        for reason, count, line, column, value in counts.sort("reason").iter_rows():
            self._count(Rejected(table, file, line, column, value, reason, effect), count)
        room = max(0, self.shown - len(self.rejected))
        for row in bad.head(room).iter_rows(named=True):
            self._show(
                Rejected(table, file, row[LINE], row["column"], row["value"], row["reason"], effect)
            )

    def _count(self, first: Rejected, count: int) -> None:
        quality = self.table(first.table)
        if first.effect == "value":
            quality.value_reasons[first.reason] += count
            return
        quality.reasons[first.reason] += count
        file = self.file(first.table, first.file)
        file.reasons[first.reason] += count
        file.examples.setdefault(first.reason, first)

    def _show(self, entry: Rejected) -> None:
        if len(self.rejected) < self.shown:
            self.rejected.append(entry)

    def report(self) -> UploadReport:
        """What was counted, as it is stored."""
        return UploadReport(
            tables={name: quality.report() for name, quality in self.tables.items()},
            rows_read=sum(quality.rows_read for quality in self.tables.values()),
            rows_kept=sum(quality.rows_kept for quality in self.tables.values()),
            rows_rejected=sum(quality.rows_rejected for quality in self.tables.values()),
            rejected=[_entry(one) for one in self.rejected],
            duplicates=dict(self.duplicates),
            dangling=dict(self.dangling),
            created=dict(self.created),
            created_users=self.created_users,
            made_events=self.made_events,
            times_without_zone=self.times_without_zone,
            files=list(self.files),
            time_range=self.time_range,
            label=self.label,
            label_values={_cut(value): n for value, n in self.label_values.most_common(10)},
            warnings=list(self.warnings),
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for JSON and for PostgreSQL."""
        stored: dict[str, Any] = _storable(self.report().to_dict())
        return stored


def _entry(one: Rejected) -> RejectedEntry:
    return RejectedEntry(
        table=one.table,
        file=one.file,
        line=one.line,
        column=one.column,
        value=None if one.value is None else _cut(one.value),
        reason=one.reason,
        effect=one.effect,
    )


def _cut(value: str) -> str:
    return value if len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}…"


def _storable(data: Any) -> Any:
    """The same without NUL characters, which PostgreSQL's JSON refuses."""
    if isinstance(data, str):
        return data.replace("\x00", "\ufffd")
    if isinstance(data, dict):
        return {_storable(key): _storable(value) for key, value in data.items()}
    return [_storable(item) for item in data] if isinstance(data, list) else data
