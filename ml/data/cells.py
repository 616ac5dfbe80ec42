"""From cells to values: text, numbers, yes or no, times. Whole columns at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from ml.contracts.columns import YES

BLANK_NUMBERS = ("", "na", "n/a", "null", "none")
"""Cells of a number or a label that mean missing (without case)."""

ISO = (
    r"^(?<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?<minute>\d{2}:\d{2})(?::(?<second>\d{2})(?:[.,](?<part>\d{1,9}))?)?)?"
    r" ?(?<zone>Z|z|UTC|[+-]\d{2}(?::?\d{2})?)?$"
)
PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
THOUSANDS = r"^[+-]?\d{1,3}(\.\d{3})+(,\d*)?$"
ID_CHARACTERS = 200
YEAR_5000 = 95_617_584_000.0


@dataclass(frozen=True)
class Parsed:
    """A column of values; null where the cell is blank or bad.

    Args:
        bad: Where a cell says something that isn't a value.
        blank: Where it says nothing.
        unzoned: Where a time came without zone and was taken as UTC.
    """

    values: pl.Series
    bad: pl.Series
    blank: pl.Series
    unzoned: pl.Series | None = None


def text(series: pl.Series) -> pl.Series:
    """The cells as text without outer blanks, null where nothing is left.

    Whole floats lose their point (ids that were integers with gaps), NaN is missing.

    Raises:
        TypeError: on nested or binary columns.
    """
    dtype = series.dtype
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        raise TypeError(f"{dtype}, expected texts, numbers, booleans or times")
    frame = pl.DataFrame({"cell": series})
    cell = pl.col("cell")
    if dtype.is_float():
        whole = cell.is_finite() & (cell == cell.floor()) & (cell.abs() < 2**53)
        number = pl.when(whole).then(cell.cast(pl.Int64, strict=False).cast(pl.String))
        cell = pl.when(cell.is_not_nan()).then(number.otherwise(cell.cast(pl.String)))
    elif isinstance(dtype, pl.Datetime):
        cell = cell.dt.strftime(
            "%Y-%m-%dT%H:%M:%S%.6f%z" if dtype.time_zone else "%Y-%m-%dT%H:%M:%S%.6f"
        )
    else:
        cell = cell.cast(pl.String)
    cell = cell.str.strip_chars()
    return frame.select(pl.when(cell != "").then(cell).alias(series.name))[series.name]


def is_unfit_id(cell: pl.Expr) -> pl.Expr:
    """Whether a text can't be an id: too long, or with a NUL, which databases refuse."""
    return (cell.str.len_chars() > ID_CHARACTERS) | has_nul(cell)


def has_nul(cell: pl.Expr) -> pl.Expr:
    return cell.str.contains("\x00", literal=True)


def numbers(series: pl.Series, *, decimal: str = ".") -> Parsed:
    """The cells as finite floats; NaN, infinity and text that is no number are bad.

    Args:
        decimal: ``,`` reads ``1.234,5`` as 1234.5.
    """
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        values = series.cast(pl.Float64)
        blank = series.is_null()
    else:
        cells = text(series)
        blank = cells.is_null() | cells.str.to_lowercase().is_in(BLANK_NUMBERS).fill_null(True)
        if decimal == ",":
            whole = cells.str.replace_all(".", "", literal=True)
            fits = ~cells.str.contains(".", literal=True) | cells.str.contains(THOUSANDS)
            cells = _where(whole.str.replace(",", ".", literal=True), fits.fill_null(False))
        values = cells.cast(pl.Float64, strict=False)
    bad = ~blank & ~values.is_finite().fill_null(False)
    return Parsed(_where(values, ~bad & ~blank), bad, blank)


def canonical(value: str) -> str:
    """One spelling for equal values: no case, ``yes`` is ``true``, ``1.0`` is ``1``."""
    word = value.strip().casefold().rstrip(".")
    if word in ("yes", "true"):
        return "true"
    if word in ("no", "false"):
        return "false"
    try:
        number = float(word)
    except ValueError:
        return word
    return str(int(number)) if number.is_integer() else str(number)


def among(series: pl.Series, values: Sequence[str]) -> pl.Series:
    """Whether each cell is one of the values (see ``canonical``); null where it is blank."""
    cells = text(series)
    wanted = {canonical(value) for value in values}
    known = cells.unique().drop_nulls()
    matching = [cell for cell in known if canonical(cell) in wanted]
    return cells.is_in(matching)


def labels(series: pl.Series, positive: Sequence[str], negative: Sequence[str]) -> Parsed:
    """The cells as 1 or 0 (Int8); with ``negative`` given every third value is bad.

    What means missing among numbers does so here too, unless it is one of the values.
    """
    hit = among(series, positive or YES)
    named = {canonical(value) for value in (*positive, *negative)}
    missing = [word for word in BLANK_NUMBERS if canonical(word) not in named]
    blank = hit.is_null() | text(series).str.to_lowercase().is_in(missing).fill_null(True)
    if negative:
        bad = ~blank & ~hit.fill_null(False) & ~among(series, negative).fill_null(False)
    else:
        bad = pl.Series([False]).new_from_index(0, len(series))
    return Parsed(_where(hit.cast(pl.Int8), ~bad & ~blank), bad, blank)


def times(series: pl.Series, *, unit: str = "iso", format: str | None = None) -> Parsed:
    """The cells as UTC times: ISO 8601 or ``format``, else numbers of ``unit`` since 1970.

    A time without zone is taken as UTC and marked. Times are not checked for sense here, only
    numbers beyond the year 5000 are cut there.
    """
    dtype = series.dtype
    if dtype == pl.Date or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None):
        values = series.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        return Parsed(values, _none(series), series.is_null(), series.is_not_null())
    if isinstance(dtype, pl.Datetime):
        values = series.cast(pl.Datetime("us", dtype.time_zone)).dt.convert_time_zone("UTC")
        return Parsed(values, _none(series), series.is_null(), _none(series))
    cells = text(series)
    blank = cells.is_null()
    frame = pl.DataFrame({"cell": cells})
    if unit == "iso":
        parsed = frame.select(values=_written(format), unzoned=_unzoned(format))
    else:
        number = series if dtype.is_numeric() else cells
        frame = pl.DataFrame({"cell": number.cast(pl.Float64, strict=False)})
        seconds = (pl.col("cell") / PER_SECOND[unit]).clip(-YEAR_5000, YEAR_5000)
        epoch = pl.when(seconds.is_finite()).then((seconds * 1e6).round()).cast(pl.Int64)
        parsed = frame.select(values=epoch.cast(pl.Datetime("us", "UTC")), unzoned=pl.lit(False))
    values = parsed["values"]
    unzoned = parsed["unzoned"].fill_null(False) & values.is_not_null()
    return Parsed(values, ~blank & values.is_null(), blank, unzoned)


def _written(format: str | None) -> pl.Expr:
    cell = pl.col("cell")
    if format is not None:
        if "%z" in format:
            parsed = cell.str.to_datetime(format, time_unit="us", strict=False)
            return parsed.dt.convert_time_zone("UTC")
        if not any(code in format for code in ("%H", "%I", "%T", "%R", "%s", "%c", "%X", "%r")):
            return cell.str.to_date(format, strict=False).cast(pl.Datetime("us", "UTC"))
        parsed = cell.str.to_datetime(format, time_unit="us", strict=False)
        return parsed.dt.replace_time_zone("UTC")
    groups = cell.str.extract_groups(ISO).struct
    zone = groups.field("zone").str.replace_all(":", "").str.replace("^(Z|z|UTC)$", "+0000")
    zone = pl.when(zone.str.len_chars() == 3).then(zone + "00").otherwise(zone).fill_null("+0000")
    full = pl.concat_str(
        groups.field("date"),
        pl.lit("T"),
        groups.field("minute").fill_null("00:00"),
        pl.lit(":"),
        groups.field("second").fill_null("00"),
        pl.lit("."),
        groups.field("part").fill_null("0").str.pad_end(6, "0").str.slice(0, 6),
        zone,
    )
    parsed = full.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False)
    return parsed.dt.convert_time_zone("UTC")


def _unzoned(format: str | None) -> pl.Expr:
    if format is not None:
        return pl.lit("%z" not in format)
    return pl.col("cell").str.extract_groups(ISO).struct.field("zone").is_null()


def _where(values: pl.Series, keep: pl.Series) -> pl.Series:
    frame = pl.DataFrame({"values": values, "keep": keep})
    return frame.select(pl.when("keep").then("values").alias(values.name))[values.name]


def _none(series: pl.Series) -> pl.Series:
    return pl.repeat(False, len(series), eager=True)
