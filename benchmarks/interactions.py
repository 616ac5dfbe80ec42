"""Tables of interactions, as people have them, to graphs."""

import csv
import io
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import polars as pl

from ml.contracts.schema import EdgeType, Feature, GraphSchema, NodeType
from ml.data.cells import BLANK_NUMBERS, numbers, text, times
from ml.data.frames import EVENT_COLUMNS
from ml.graph.graph import Graph, build_graph

UNIT = b"\x1f"
"""Made to separate values, and in nobody's text."""

BLANK = (*BLANK_NUMBERS, "nan")
"""Cells of a numeric column that mean missing (without case)."""

MILLISECONDS = 1e11
"""Numbers beyond it are no seconds: that would be the year 5138."""

MICROSECONDS = 1e13
"""Numbers beyond it are no milliseconds: that would be the year 2286."""


def columns_of(path: Path, *, header: bool = True) -> list[str]:
    """Names in the header of a file; without one, the columns' places: 1, 2, …"""
    return _table(path, header).columns


def read_interactions(path: Path, columns: list[str], *, header: bool = True) -> pl.DataFrame:
    """Columns ``src``, ``dst`` and, where a third one is named, ``time`` (seconds).

    Args:
        columns: Two or three of ``columns_of``: source, target, time.
        header: Whether line 1 names the columns.

    Raises:
        SystemExit: if a column is not there, a time is none or may be another, or line 1 is not
            what ``header`` says.
    """
    frame = _table(path, header)
    if len(columns) < 2:
        raise SystemExit(
            f"{path}: got {len(columns)} column, expected at least a source and a target, "
            "separated by tab, comma, semicolon, space, | or ::"
        )
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise SystemExit(f"{path} has no column {missing}; it has {frame.columns}")
    found = frame.select(pl.col(columns[0]).alias("src"), pl.col(columns[1]).alias("dst"))
    if len(columns) < 3:
        return found.drop_nulls()
    seconds = _seconds(frame[columns[2]], path, lambda row: _place(path, frame, row, header))
    return found.with_columns(time=seconds).drop_nulls().sort("time", maintain_order=True)


def _seconds(raw: pl.Series, path: Path, place: Callable[[int], str]) -> pl.Series:
    """Since 1970, of numbers or of ISO 8601; the first value says which of them.

    Args:
        place: Names the place of a row in the file.
    """
    about = f"{path}: times of {raw.name}"
    cells = text(raw)
    clock = cells.cast(pl.Float64, strict=False)
    if cells.null_count() == len(cells):
        return clock
    written, wrong = times(cells), cells.is_not_null() & ~clock.is_finite().fill_null(False)
    numeric = not wrong[_first(cells.is_not_null())]
    bad = wrong if numeric else written.bad
    if bad.any():
        row = _first(bad)
        raise SystemExit(
            f"{about}: {place(row)} has {cells[row]!r}, expected all of them to be seconds or "
            "milliseconds since 1970, or all to be ISO 8601, as 2002-06-26 or 2002-06-26T09:21:19Z"
        )
    if not numeric:
        return written.values.dt.epoch("us") / 1e6
    long, short = clock > MILLISECONDS, clock <= MILLISECONDS
    if long.any() and short.any():
        told = [f"{place(_first(one))} has {cells[_first(one)]!r}" for one in (short, long)]
        raise SystemExit(
            f"{about}: {' and '.join(told)}, expected all of them to be seconds since 1970, or "
            "all to be milliseconds"
        )
    seconds = clock / 1e3 if long.any() else clock
    _refuse_other_clocks(about, clock.drop_nulls())
    return seconds


def _refuse_other_clocks(about: str, clock: pl.Series) -> None:
    """Numbers that are dates without dashes, or count in something finer than milliseconds."""
    latest = clock.max()
    assert isinstance(latest, float)
    advice = ""
    if latest > MICROSECONDS:
        advice = "Divide microseconds and nanoseconds; write dates as 2002-06-26T09:21:19Z"
    elif _are_dates(clock):
        got = f"{latest:.0f}"
        advice = f"8 digits like these are a date: write it {got[:4]}-{got[4:6]}-{got[6:]}"
    if advice:
        raise SystemExit(
            f"{about} end with {latest:.0f}, expected seconds or milliseconds since 1970. {advice}"
        )


def _are_dates(clock: pl.Series) -> bool:
    """Whether each number is a year of four digits, a month and a day."""
    year, month, day = clock // 10_000, clock // 100 % 100, clock % 100
    found = year.is_between(1900, 2200) & month.is_between(1, 12) & day.is_between(1, 31)
    return bool(found.all())


def _first(mask: pl.Series) -> int:
    return int(mask.arg_true()[0])


def _place(path: Path, frame: pl.DataFrame, row: int, header: bool) -> str:
    """Where a row is in the file; breaks of lines in quoted values count."""
    if path.suffix == ".parquet":
        return f"row {row + 1}"
    breaks = frame.head(row).select(pl.all().str.count_matches("\n").sum()).row(0)
    return f"line {row + 1 + header + sum(breaks)}"


def _table(path: Path, header: bool) -> pl.DataFrame:
    """A delimited file, everything as text; Parquet by its ending."""
    if not path.is_file():
        raise SystemExit(f"there is no file {path}")
    if path.suffix == ".parquet":
        return pl.read_parquet(path).cast(pl.String)
    frame = _delimited(path, _utf8(path.read_bytes()), header)
    if header:
        _refuse_row(path, frame)
        return frame
    _refuse_header(path, frame)
    return frame.rename(dict(zip(frame.columns, map(str, range(1, frame.width + 1)), strict=True)))


def _delimited(path: Path, content: bytes, header: bool) -> pl.DataFrame:
    if not content.strip():
        raise SystemExit(f"{path} is empty")
    separator = _separator(content.partition(b"\n")[0].decode())
    sign = separator
    if separator == "::":  # Polars takes one byte
        content, sign = content.replace(b"::", UNIT), UNIT.decode()
    quoted = plain = None
    if separator != "::":
        quoted = _parsed(content, sign, '"', header)
    if separator == "::" or (separator == "\t" and b'"' in content):
        plain = _parsed(content, sign, None, header)
    if quoted is not None and plain is not None and quoted.height != plain.height:
        # Quotes that close in a later line: text, if each line has all its values without them.
        quoted = None if _is_even(content, sign.encode()) else quoted
    frame = plain if quoted is None else quoted
    if frame is None:
        fault = _fault(content.decode(), sign, quotes=separator not in ("::", "\t"))
        raise SystemExit(f"{path} is no table separated by {separator!r}: {fault}")
    return frame


def _parsed(content: bytes, sign: str, quote: str | None, header: bool) -> pl.DataFrame | None:
    try:
        return pl.read_csv(
            content, separator=sign, quote_char=quote, has_header=header, infer_schema=False
        )
    except pl.exceptions.PolarsError:
        return None


def _is_even(content: bytes, sign: bytes) -> bool:
    return len({line.count(sign) for line in content.splitlines() if line}) == 1


def _fault(content: str, sign: str, *, quotes: bool) -> str:
    """What is wrong with the first line that fits no table, and what to do."""
    rows = csv.reader(
        io.StringIO(content, newline=""),
        delimiter=sign,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        strict=True,
    )
    line, width = 1, 0
    try:
        for row in rows:
            width = width or len(row)
            if len(row) > width:
                return (
                    f"line {line} has {len(row)} values, line 1 has {width}; take out or quote "
                    "separators inside of values, and give each column a name if there is a header"
                )
            line = rows.line_num + 1
    except csv.Error:
        pass  # the value that begins in this line
    else:
        odd = [n for n, row in enumerate(content.splitlines(), 1) if row.count('"') % 2]
        if not odd:
            return "it can't be read; expected each line to have as many values as line 1"
        line = odd[0]
    return (
        f"line {line} has a quotation mark that doesn't begin or end a value; write such values "
        'as "a ""b"" c"'
    )


def _utf8(content: bytes) -> bytes:
    """Text that is no UTF-8 is taken for Latin-1, as MovieLens' titles are."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1").encode()
    return content.removeprefix(b"\xef\xbb\xbf")


def _separator(line: str) -> str:
    """The least ambiguous one first: texts have commas and bars, and names in headers blanks."""
    for sure in ("::", "\t"):
        if sure in line:
            return sure
    usual = max(",;|", key=line.count)
    return usual if usual in line or " " not in line else " "


def _refuse_row(path: Path, frame: pl.DataFrame) -> None:
    values = [name for name in frame.columns if _is_value(name)]
    if values:
        raise SystemExit(
            f"{path}: line 1 has {', '.join(values)} where names of columns are expected. If the "
            "file has no header, give --no-header (its columns are then 1, 2, …); if this is its "
            "header, give these columns names that are no numbers and no dates"
        )


def _refuse_header(path: Path, frame: pl.DataFrame) -> None:
    """Text in line 1 above nothing but numbers."""
    for first, values in zip(frame.row(0), frame.slice(1), strict=True):
        above = first is not None and not _is_value(first) and len(values) > 0
        if above and not values.cast(pl.Float64, strict=False).null_count():
            raise SystemExit(
                f"{path}: line 1 has {first} above numbers, as a header has. Leave out "
                "--no-header; where the other files have none, remove this line"
            )


def _is_value(text: str) -> bool:
    """Whether it is a number or a date, which names of columns are not."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        pass
    try:
        return bool(datetime.fromisoformat(text))
    except ValueError:
        return False


def features_of(
    path: Path | None, *, header: bool = True
) -> tuple[tuple[Feature, ...], pl.DataFrame | None]:
    """Attributes of nodes: a table whose first column is the id; numbers are numeric.

    Among numbers NULL, NA and the like mean missing. Columns without a single value are left out.
    """
    if path is None:
        return (), None
    frame = _table(path, header)
    key, *names = frame.columns
    columns, features = [frame[key].alias("id")], []
    for name in names:
        cells = text(frame[name])
        lower = cells.str.to_lowercase()
        found = numbers(cells.set(lower.is_in(BLANK).fill_null(False), None))
        if found.blank.all():
            continue
        numeric = not found.bad.any()
        columns.append((found.values if numeric else cells).alias(name))
        features.append(Feature(name, "numeric" if numeric else "categorical"))
    return tuple(features), pl.DataFrame(columns).unique("id", keep="first", maintain_order=True)


def graph_of(
    frame: pl.DataFrame,
    edge: EdgeType,
    tables: Mapping[str, tuple[tuple[Feature, ...], pl.DataFrame | None]] | None = None,
) -> Graph:
    """The graph of one table of interactions, with the attributes of nodes if there are any."""
    tables = tables or {}
    names = dict.fromkeys((edge.source, edge.target))
    nodes = tuple(NodeType(name, tables.get(name, ((), None))[0]) for name in names)
    ends: dict[str, list[pl.Series]] = {name: [] for name in names}
    ends[edge.source].append(frame["src"])
    ends[edge.target].append(frame["dst"])
    frames = {}
    for node in nodes:
        ids = pl.concat(ends[node.name]).unique().sort().alias("id")
        table, known = ids.to_frame(), tables.get(node.name, ((), None))[1]
        if known is not None:
            table = table.join(known, on="id", how="left", maintain_order="left")
        frames[node.table] = table.rename({"id": node.id_column})
    stamp = pl.lit(None) if "time" not in frame.columns else pl.col("time") * 1_000_000
    events = frame.select(
        event_id=pl.lit(None, pl.String),
        type=pl.lit(edge.event),
        timestamp=stamp.cast(pl.Int64).cast(pl.Datetime("us", "UTC")),
        actor="src",
        target="dst",
        target_type=pl.lit(edge.target),
    ).select(*(pl.col(name) for name in EVENT_COLUMNS))
    return build_graph(SimpleNamespace(schema=GraphSchema(nodes, (edge,)), events=events, **frames))
