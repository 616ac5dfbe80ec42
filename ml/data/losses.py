"""Warnings of columns that came to nothing: all blank, or their values rejected."""

import polars as pl

from ml.data import cells
from ml.data.columns import YES, Column, TableMapping
from ml.data.quality import QualityReport

SHARE = 0.1
"""Rejected share of a column's values from which a warning says so."""


def warn_of_losses(
    report: QualityReport, mapped: TableMapping, rows: pl.DataFrame, *, file: str
) -> None:
    """Say which columns are blank, and of which many values are rejected.

    Args:
        rows: Of one table, with its features and label as they were read.
    """
    for column in mapped.columns:
        is_value = column.kind is not None or "label" in column.roles
        if not is_value or column.name not in rows.columns or not rows.height:
            continue
        bad = report.table(mapped.table).bad[column.column]
        good = rows.height - rows[column.name].null_count()
        if bad + good == 0:
            report.warn(
                f"{file}: the column {column.column!r} is blank in all {rows.height} rows: missing "
                "for all"
            )
        elif "label" in column.roles and good and not rows[column.name].sum():
            found = ", ".join(repr(value[:50]) for value in sorted(report.label_values))
            report.warn(
                f"{file}: no value of the label {column.column!r} means yes, so all are negative: "
                f"it has {found}, the positive ones are {list(column.positive or YES)}"
            )
        if bad and bad >= SHARE * (bad + good):
            report.warn(
                f"{file}: {bad} of the {bad + good} values of the column {column.column!r} were "
                f"rejected and are missing{_hint(report, mapped, column, bad)}"
            )


def _hint(report: QualityReport, mapped: TableMapping, column: Column, bad: int) -> str:
    if 2 * report.table(mapped.table).commas[column.column] < bad:
        return ""
    return '; they look like numbers with a decimal comma: give the column decimal: ","'


def decimal_commas(series: pl.Series) -> int:
    """How many cells look like ``1.234,5`` or ``7,25``."""
    if series.dtype != pl.String:
        return 0
    written = cells.text(series).str.contains(r"^[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+$")
    return int(written.sum())
