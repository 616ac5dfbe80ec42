"""Reading CSV and Parquet in batches, so that memory doesn't grow with the file.

CSV is read by the standard library's parser: it knows the line each row began at, and a row with
too many or too few fields is an entry of the report, neither an error of the file nor cut short.
"""

import codecs
import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import polars as pl

from ml.data import parquet
from ml.data.csv_rows import csv_rows
from ml.data.files import CHUNK, DatasetError, Limits, Source
from ml.data.quality import LINE, QualityReport, Rejected

BATCH = 50_000
DELIMITERS = (",", ";", "\t", "|")
FIELD_BYTES = 1 << 20
STRAY_QUOTE = "a quote opened in this row takes in the lines after it"
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Layout:
    """How a CSV is written and which columns a file has."""

    columns: tuple[str, ...]
    encoding: str | None = None
    delimiter: str | None = None


@dataclass(frozen=True)
class Read:
    """What to read of a file.

    Args:
        columns: Those wanted, all in the file.
        table: For the report.
        done: Told the share of the file read so far.
    """

    source: Source
    layout: Layout
    columns: tuple[str, ...]
    table: str
    report: QualityReport
    done: Callable[[float], None]


def look(
    source: Source,
    limits: Limits,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
) -> Layout:
    """The columns of a file; encoding and delimiter of a CSV are found out unless given.

    Raises:
        DatasetError: if it can't be read or has no header.
    """
    if source.kind == "parquet":
        parquet.probe(source, limits.unpacked_bytes)
        return Layout(parquet.columns(source))
    encoding = encoding or _encoding(source)
    with source.path.open("rb") as raw, _csv_errors(source, encoding):
        head = _text(raw, encoding).read(1 << 16)
        if not head.strip():
            raise DatasetError(f"{source.name} is empty")
        delimiter = delimiter or _delimiter(head)
        rows = csv_rows(io.StringIO(head, newline=""), name=source.name, delimiter=delimiter)
        header = next((row for _, row, _ in rows if row), [])
        columns = tuple(name.strip().lstrip("\ufeff") for name in header)
        return Layout(columns, encoding, delimiter)


def batches(read: Read) -> Iterator[pl.DataFrame]:
    """The wanted columns with the column LINE: text from CSV, as typed from Parquet.

    Raises:
        DatasetError: if the file turns out to be damaged.
    """
    return _parquet(read) if read.source.kind == "parquet" else _csv(read)


def _csv(read: Read) -> Iterator[pl.DataFrame]:
    layout, source = read.layout, read.source
    indices = [layout.columns.index(name) for name in read.columns]
    size = max(1, source.path.stat().st_size)
    encoding = layout.encoding or "utf-8"
    empty = strays = lost = 0
    with source.path.open("rb") as raw, _csv_errors(source, encoding):
        lines: list[int] = []
        kept: list[list[str]] = []
        for line, row, taken_in in _body(_text(raw, encoding), source, layout):
            if taken_in:
                _reject(read, line, row, STRAY_QUOTE)
                strays, lost = strays + 1, lost + taken_in
            elif len(row) == len(layout.columns):
                lines.append(line)
                kept.append(row)
            elif row:
                _reject(read, line, row, f"has {len(row)} fields, expected {len(layout.columns)}")
            else:
                empty += 1
            if len(kept) == BATCH:
                yield _frame(read, indices, lines, kept)
                lines, kept = [], []
                read.done(min(1.0, raw.tell() / size))
        yield _frame(read, indices, lines, kept)
    if empty:
        read.report.warn(f"{source.name}: skipped {empty} empty lines")
    if strays:
        read.report.warn(
            f"{source.name}: {strays} rows have a stray quote, which took in the {lost} lines after"
            " them; none of those was read. See the rejected rows for where"
        )


def _body(text: TextIO, source: Source, layout: Layout) -> Iterator[tuple[int, list[str], int]]:
    """The rows after the header, as ``csv_rows`` gives them."""
    rows = csv_rows(text, name=source.name, delimiter=layout.delimiter or ",")
    next((row for _, row, _ in rows if row), None)
    return rows


def _reject(read: Read, line: int, row: list[str], reason: str) -> None:
    read.report.saw_rows(read.table, read.source.name, 1)
    text = (read.layout.delimiter or ",").join(row)[:1000]
    read.report.reject(Rejected(read.table, read.source.name, line, "", text, reason, "row"))


def _frame(
    read: Read, indices: Sequence[int], lines: list[int], rows: list[list[str]]
) -> pl.DataFrame:
    read.report.saw_rows(read.table, read.source.name, len(rows))
    columns: dict[str, Any] = {LINE: pl.Series(lines, dtype=pl.Int64)}
    for name, index in zip(read.columns, indices, strict=True):
        columns[name] = pl.Series([row[index] for row in rows], dtype=pl.String)
    return pl.DataFrame(columns)


def _parquet(read: Read) -> Iterator[pl.DataFrame]:
    for batch in parquet.batches(read.source, read.columns, read.done):
        read.report.saw_rows(read.table, read.source.name, batch.height)
        yield batch


def _encoding(source: Source) -> str:
    """By the byte order mark; else UTF-8 if all of it is; else UTF-16 or Windows' Latin."""
    with source.path.open("rb") as file:
        head = file.read(4096)
        for bom, encoding in BOMS:
            if head.startswith(bom):
                return encoding
        if head.count(0) > len(head) / 20:
            return _wide_encoding(source, head)
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while chunk := file.read(CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return _latin(source.path)
    return "utf-8"


def _wide_encoding(source: Source, head: bytes) -> str:
    odd, even = head[1::2].count(0), head[0::2].count(0)
    if max(odd, even) > len(head) / 4 and min(odd, even) == 0:
        return "utf-16-le" if odd else "utf-16-be"
    raise DatasetError(f"{source.name} is binary, expected CSV, Parquet or a zip of them")


def _latin(path: Path) -> str:
    with path.open("rb") as file:
        decoder = codecs.getincrementaldecoder("cp1252")()
        try:
            while chunk := file.read(CHUNK):
                decoder.decode(chunk)
        except UnicodeDecodeError:
            return "latin-1"
    return "cp1252"


def _delimiter(head: str) -> str:
    """The one that cuts most of the first rows into equally many fields, and those into most."""
    best = (0.0, 1, ",")
    for delimiter in DELIMITERS:
        rows = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
        try:
            widths = [len(row) for row, _ in zip(rows, range(50), strict=False) if row]
        except csv.Error:
            continue
        if not widths or widths[0] == 1:
            continue
        same = sum(width == widths[0] for width in widths) / len(widths)
        best = max(best, (same, widths[0], delimiter))
    return best[2]


def _text(raw: BinaryIO, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(raw, encoding=encoding, newline="")


@contextmanager
def _csv_errors(source: Source, encoding: str) -> Iterator[None]:
    """Turns what goes wrong in reading a CSV into a sentence for a person."""
    csv.field_size_limit(FIELD_BYTES)
    try:
        yield
    except csv.Error as error:
        reason = f"{source.name} can't be read as CSV: {error}; is a quote left open?"
        raise DatasetError(reason) from None
    except UnicodeError as error:
        raise DatasetError(f"{source.name} is not {encoding}: {error}") from None


def text_rows(source: Source, layout: Layout, rows: int) -> list[list[str | None]]:
    """The first rows as text, for a person to look at."""
    if source.kind == "parquet":
        return parquet.head(source, rows)
    encoding = layout.encoding or "utf-8"
    with source.path.open("rb") as raw, _csv_errors(source, encoding):
        body = _body(_text(raw, encoding), source, layout)
        return [list(row) for _, row, _ in islice(body, rows)]
