"""Checks of the rows of an upload: batches of cells in, typed rows and reasons out.

The policy: a row without what makes it a row (an id, an actor, a target, a type that is known, a
time that can be) is rejected; a cell that is no number or no label is rejected alone, its row is
kept and the value is missing. An empty cell is a missing value. All are counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from ml.contracts.columns import Column, TableMapping, event_edges
from ml.data import cells
from ml.data.files import DatasetError
from ml.data.frames import EVENT_COLUMNS
from ml.data.quality import LINE, QualityReport
from ml.data.read_warnings import count_number_formats, warn_of_columns

UNFIT = f"id is longer than {cells.ID_CHARACTERS} characters or has a NUL character"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RowOrigin:
    """Where rows come from, for the report."""

    table: str
    file: str
    report: QualityReport

    def text(self, batch: pl.DataFrame, column: Column | None) -> pl.Series:
        """A column as text; all null if there is none."""
        if column is None:
            return pl.repeat(None, batch.height, dtype=pl.String, eager=True)
        try:
            return cells.text(batch[column.column])
        except TypeError as error:
            message = f"{self.file}: the column {column.column!r} is {error}"
            raise DatasetError(message) from None

    def reject(
        self,
        batch: pl.DataFrame,
        column: Column,
        where: pl.Series,
        reason: str,
        *,
        effect: str = "value",
    ) -> None:
        """Count the cells of one column where a mask holds."""
        if not where.any():
            return
        rows = batch.filter(where)
        shown = rows.select(
            LINE,
            column=pl.lit(column.column),
            value=self.text(rows, column),
            reason=pl.lit(reason),
        )
        self.report.reject_frame(self.table, self.file, shown, effect)
        if effect == "value":
            self.report.table(self.table).bad[column.column] += rows.height

    def blanks(self, column: Column, blank: pl.Series) -> None:
        count = int(blank.sum())
        if count:
            self.report.table(self.table).blanks[column.column] += count


def node_rows(
    batches: Iterable[pl.DataFrame], mapped: TableMapping, id_column: str, origin: RowOrigin
) -> pl.DataFrame:
    """The rows of a table of nodes, in order, the first of each id.

    Returns: LINE, ``id_column``, the features and the label that the file has, and for each
        product of a wide table a Boolean column named by ``product_columns``.
    """
    key = mapped.role("id")
    assert key is not None  # the mapping's parser sees to it
    parts = []
    for batch in batches:
        ids = origin.text(batch, key)
        origin.reject(batch, key, ids.is_null(), "missing id", effect="row")
        unfit = ids.to_frame("id").select(cells.is_unfit_id(pl.col("id"))).to_series()
        origin.reject(batch, key, unfit.fill_null(False), UNFIT, effect="row")
        fit = ~unfit.fill_null(True)
        kept = batch.filter(fit)
        columns = [kept[LINE], ids.filter(fit).alias(id_column)]
        for column in mapped.columns:
            if column.column in kept.columns:
                columns += _features(kept, column, origin)
        columns += _product_hits(kept, mapped)
        parts.append(pl.DataFrame(columns))
    rows = pl.concat(parts)
    warn_of_columns(origin.report, mapped, rows, file=origin.file)
    first = rows[id_column].is_first_distinct()
    repeated = rows.filter(~first).select(
        LINE,
        column=pl.lit(key.column),
        value=pl.col(id_column),
        reason=pl.lit("duplicate id"),
    )
    origin.report.reject_frame(origin.table, origin.file, repeated, "row")
    if repeated.height:
        origin.report.duplicates[origin.table] += repeated.height
    rows = rows.filter(first)
    origin.report.table(origin.table).rows_kept += rows.height
    return rows


def product_columns(mapped: TableMapping) -> dict[str, tuple[Column, str, tuple[str, ...]]]:
    """Column of the hits → its source, the product and the values that mean 'has it'."""
    products = [
        (column, product, values)
        for column in mapped.columns
        for product, values in column.products()
    ]
    return {f"product {index}": entry for index, entry in enumerate(products)}


def _features(batch: pl.DataFrame, column: Column, origin: RowOrigin) -> list[pl.Series]:
    origin.text(batch.head(0), column)  # refuses a column of lists
    series = batch[column.column]
    made: list[pl.Series] = []
    if column.kind == "numeric":
        parsed = cells.numbers(series, decimal=column.decimal)
        origin.reject(batch, column, parsed.bad, "not a finite number")
        if column.decimal == ".":
            formats = origin.report.table(origin.table).formats[column.column]
            count_number_formats(formats, series, parsed.bad)
        origin.blanks(column, parsed.blank)
        made.append(parsed.values.alias(column.name))
    elif column.kind == "categorical":
        values = origin.text(batch, column)
        origin.blanks(column, values.is_null())
        nul = values.to_frame("cell").select(cells.has_nul(pl.col("cell"))).to_series()
        origin.reject(batch, column, nul.fill_null(False), "has a NUL character")
        made.append(values.set(nul.fill_null(False), None).alias(column.name))
    elif "label" in column.roles:
        parsed = cells.labels(series, column.positive, column.negative)
        origin.report.saw_label(origin.text(batch, column))
        origin.reject(batch, column, parsed.bad, "neither positive nor negative")
        origin.blanks(column, parsed.blank)
        made.append(parsed.values.alias(column.name))
    return made


def _product_hits(batch: pl.DataFrame, mapped: TableMapping) -> list[pl.Series]:
    """Who has which product of a wide table: a Boolean column a product."""
    return [
        cells.among(batch[column.column], values).fill_null(False).alias(name)
        for name, (column, _, values) in product_columns(mapped).items()
    ]


def event_rows(
    batches: Iterable[pl.DataFrame], mapped: TableMapping, origin: RowOrigin, *, now: datetime
) -> pl.DataFrame:
    """The rows of a table of events that can be; ``target_type`` is null where still open.

    Returns: LINE and the columns of ``EVENT_COLUMNS``.
    """
    parts = [_event_batch(batch, mapped, origin, now) for batch in batches]
    return pl.concat(parts)


def _event_batch(
    batch: pl.DataFrame, mapped: TableMapping, origin: RowOrigin, now: datetime
) -> pl.DataFrame:
    raw = {role: origin.text(batch, _present(batch, mapped, role)) for role in _ROLES}
    rows = pl.DataFrame({LINE: batch[LINE], **{f"raw {k}": v for k, v in raw.items()}})
    rows = rows.with_columns(
        event_id=pl.col("raw event_id"),
        type=_meaning(mapped.type, mapped.role("type"), "raw type"),
        actor=pl.col("raw actor"),
        target=pl.col("raw target"),
        target_type=_meaning(mapped.target_type, mapped.role("target_type"), "raw target_type"),
    )
    rows = _with_time(rows, batch, _present(batch, mapped, "time"), origin)
    rows = _with_target_type(rows, mapped)
    checked = rows.with_columns(**_verdict(mapped, now))
    bad = checked.filter(pl.col("reason").is_not_null())
    origin.report.reject_frame(
        origin.table, origin.file, bad.select(LINE, "column", "value", "reason"), "row"
    )
    good = checked.filter(pl.col("reason").is_null())
    origin.report.times_without_zone += int(good["unzoned"].sum())
    return good.select(LINE, *EVENT_COLUMNS)


_ROLES = ("event_id", "type", "actor", "target", "target_type", "time")


def _present(batch: pl.DataFrame, mapped: TableMapping, role: str) -> Column | None:
    column = mapped.role(role)
    return column if column is not None and column.column in batch.columns else None


def _meaning(constant: str | None, column: Column | None, raw: str) -> pl.Expr:
    if constant is not None:
        return pl.lit(constant)
    word = pl.col(raw).str.to_lowercase()
    if column is None or not column.values:
        return word
    words = {word.lower(): meant for word, meant in column.values}
    return word.replace_strict(words, default=None, return_dtype=pl.String)


def _with_time(
    rows: pl.DataFrame, batch: pl.DataFrame, column: Column | None, origin: RowOrigin
) -> pl.DataFrame:
    if column is None:
        none = pl.lit(None, dtype=EVENT_COLUMNS["timestamp"])
        return rows.with_columns(timestamp=none, bad_time=pl.lit(False), unzoned=pl.lit(False))
    parsed = cells.times(batch[column.column], unit=column.unit, format=column.format)
    origin.blanks(column, parsed.blank)
    return rows.with_columns(timestamp=parsed.values, bad_time=parsed.bad, unzoned=parsed.unzoned)


def _with_target_type(rows: pl.DataFrame, mapped: TableMapping) -> pl.DataFrame:
    """Fill in the target type of the event types that have but one."""
    targets: dict[str, list[str]] = {}
    for edge in event_edges(mapped):
        targets.setdefault(edge.event, []).append(edge.target)
    single = {event: ends[0] for event, ends in targets.items() if len(ends) == 1}
    only = pl.col("type").replace_strict(single, default=None, return_dtype=pl.String)
    named = pl.col("raw target_type").is_not_null()
    return rows.with_columns(
        target_type=pl.when(~named).then(pl.coalesce("target_type", only)).otherwise("target_type")
    )


def _verdict(mapped: TableMapping, now: datetime) -> dict[str, pl.Expr]:
    """The first thing wrong with each row: its column, value and reason; null if nothing is."""
    edges = event_edges(mapped)
    pairs = [f"{edge.event} {edge.target}" for edge in edges]
    pair = pl.concat_str("type", "target_type", separator=" ")
    unsaid = pl.col("raw target_type").is_null()
    time = pl.col("timestamp")
    checks = [
        ("actor", pl.col("actor").is_null(), "missing actor"),
        ("target", pl.col("target").is_null(), "missing target"),
        ("actor", cells.is_unfit_id(pl.col("actor")), UNFIT),
        ("target", cells.is_unfit_id(pl.col("target")), UNFIT),
        ("type", _unsaid(mapped.type, "raw type"), "missing type"),
        ("type", ~pl.col("type").is_in([e.event for e in edges]).fill_null(False), "unknown type"),
        ("target_type", ~unsaid & pl.col("target_type").is_null(), "unknown target_type"),
        ("target_type", ~pair.is_in(pairs), "no edge of this type to this target_type"),
        ("time", pl.col("bad_time"), "not a time"),
        ("time", time < EPOCH, "time before 1970"),
        ("time", time > now + timedelta(days=1), "time in the future"),
    ]
    headers = {role: _header(mapped, role) for role in _ROLES}
    return {
        "reason": pl.coalesce(pl.when(wrong).then(pl.lit(why)) for _, wrong, why in checks),
        "column": pl.coalesce(
            pl.when(wrong).then(pl.lit(headers[role])) for role, wrong, _ in checks
        ),
        "value": pl.coalesce(
            pl.when(wrong).then(pl.col(f"raw {role}").fill_null("")) for role, wrong, _ in checks
        ),
    }


def _unsaid(constant: str | None, raw: str) -> pl.Expr:
    return pl.lit(False) if constant is not None else pl.col(raw).is_null()


def _header(mapped: TableMapping, role: str) -> str:
    column = mapped.role(role)
    return column.column if column is not None else role
