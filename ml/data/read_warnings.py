"""Warnings of what came to nothing: columns that are blank, values and rows that were rejected."""

from collections import Counter

import polars as pl

from ml.contracts.columns import YES, Column, TableMapping
from ml.data import cells
from ml.data.quality import QualityReport, Rejected

SHARE = 0.1
"""Lost share of a column's values, a file's rows or its events' ends that a warning tells of."""
SHOWN_REASONS = 3
MANY_ROWS = 100
"""Fewer rows with a value say nothing of how many different ones there are."""
ADVICE = {
    "not a time": "; give the column of times its format or unit",
    "time in the future": "; is the unit of the column of times right?",
}
DECIMALS = r"^[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+$"
THOUSANDS = r"^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$"
POINTS = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$"
BARE = r"^[+-]?\d{1,3}$"
GIVE_DECIMAL = 'give the column decimal: ","'


def warn_of_columns(
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
            values = sorted(value for value, _ in report.label_values.most_common(10))
            listed = ", ".join(repr(value[:50]) for value in values)
            report.warn(
                f"{file}: no value of the label {column.column!r} means yes, so all are negative: "
                f"it has {listed}, the positive ones are {list(column.positive or YES)}"
            )
        if bad and bad >= SHARE * (bad + good):
            report.warn(
                f"{file}: {bad} of the {bad + good} values of the column {column.column!r} were "
                f"rejected and are missing{_hint(report, mapped, column, bad)}"
            )
        _warn_of_points(report, mapped, column, file=file)
        if column.kind == "categorical" and (mapped.table == "users" or column.name != "name"):
            _warn_of_variety(report, column, rows[column.name].drop_nulls(), file=file)


def _warn_of_variety(
    report: QualityReport, column: Column, values: pl.Series, *, file: str
) -> None:
    """Say it where a text is different in so many rows that it tells nothing of the others."""
    different = values.n_unique()
    if len(values) >= MANY_ROWS and 2 * different >= len(values):
        report.warn(
            f"{file}: the categorical column {column.column!r} has {different} different values in "
            f"{len(values)} rows: an id or a date? Then give it the role ignored"
        )


def _hint(report: QualityReport, mapped: TableMapping, column: Column, bad: int) -> str:
    """What the commas of rejected numbers seem to be, if half of them have such commas."""
    formats = report.table(mapped.table).formats[column.column]
    either, decimal, thousands = (formats[name] for name in ("either", "decimal", "thousands"))
    if 2 * (either + decimal + thousands) < bad:
        return ""
    if decimal and not thousands:
        return f"; they look like numbers with a decimal comma: {GIVE_DECIMAL}"
    hint = (
        "; they look like numbers with separators of thousands, which have to be taken out of the "
        "file first"
    )
    if thousands and not decimal:
        return hint
    return f"{hint}. Only where the comma stands before decimals, {GIVE_DECIMAL}"


def _warn_of_points(
    report: QualityReport, mapped: TableMapping, column: Column, *, file: str
) -> None:
    """Say it where every number that has a point could be one in thousands."""
    formats = report.table(mapped.table).formats[column.column]
    if formats["points"] and formats["points"] + formats["bare"] == formats["all"]:
        report.warn(
            f"{file}: every number with a point in the column {column.column!r} is written like "
            "1.234. They were read as decimals: if those are points between thousands, "
            f"{GIVE_DECIMAL}"
        )


def count_number_formats(formats: Counter[str], series: pl.Series, bad: pl.Series) -> None:
    """Count how the numbers of a text column are written, to hint at other readings.

    Rejected ones: ``decimal`` (``7,25``), ``thousands`` (``1,234.5``), ``either`` (``1,234``).
    Of ``all`` that aren't blank: ``points`` (``1.234``) and ``bare`` (``950``).
    """
    if series.dtype != pl.String:
        return
    cell = pl.col("cell")
    decimal, thousands = cell.str.contains(DECIMALS), cell.str.contains(THOUSANDS)
    frame = pl.DataFrame({"cell": cells.text(series), "bad": bad})
    counts = frame.select(
        either=(pl.col("bad") & decimal & thousands).sum(),
        decimal=(pl.col("bad") & decimal & ~thousands).sum(),
        thousands=(pl.col("bad") & thousands & ~decimal).sum(),
        points=cell.str.contains(POINTS).sum(),
        bare=cell.str.contains(BARE).sum(),
        all=(~cell.str.to_lowercase().is_in(cells.BLANK_NUMBERS)).sum(),
    )
    formats.update(counts.row(0, named=True))


def warn_of_rows(report: QualityReport) -> None:
    """Say of which files many rows were rejected, and for what."""
    for (_, name), file in report.by_file.items():
        bad = file.reasons.total()
        if not 0 < SHARE * file.rows_read <= bad:
            continue
        most = file.reasons.most_common(SHOWN_REASONS)
        reasons = ", ".join(
            f"{count} {reason}{_example(file.examples[reason])}" for reason, count in most
        )
        report.warn(
            f"{name}: {bad} of the {file.rows_read} rows ({share(bad, file.rows_read)}) were "
            f"rejected: {reasons}{ADVICE.get(most[0][0], '')}"
        )


def _example(entry: Rejected) -> str:
    value = f", as {entry.value[:50]!r}" if entry.value else ""
    column = f" in the column {entry.column!r}" if entry.column else ""
    return f"{value}{column}, line {entry.line}"


def share(part: int, whole: int) -> str:
    """A share as a person reads it; never 100 % unless it is all."""
    return f"{100 * part // whole} %"
