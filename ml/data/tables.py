"""From an uploaded file and its mapping to checked tables and a quality report."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import polars as pl

from ml.contracts.columns import Mapping, TableMapping
from ml.contracts.reports.dataset import FileRead
from ml.data.checks import RowOrigin, event_rows, node_rows, product_columns
from ml.data.files import DatasetError, Limits, Source, find, open_upload
from ml.data.frames import (
    NAMES,
    Tables,
    event_counts,
    load_tables,
    make_tables,
    save_tables,
)
from ml.data.linking import link_events
from ml.data.quality import LINE, QualityReport
from ml.data.read_warnings import warn_of_rows
from ml.data.readers import Layout, Read, batches, look

__all__ = [
    "DatasetError",
    "Limits",
    "QualityReport",
    "Tables",
    "event_counts",
    "load_tables",
    "make_tables",
    "read_tables",
    "save_tables",
]

Progress = Callable[[float, str], None]
OLD_YEAR = 1980
"""Times that end before it are more often of another unit than that old."""
NODES = {"users": "user", "products": "product", "apps": "app"}


@dataclass(frozen=True)
class Job:
    """What the steps of one reading share."""

    mapping: Mapping
    filename: str
    now: datetime
    limits: Limits
    report: QualityReport
    progress: Progress


def read_tables(
    path: Path,
    mapping: Mapping,
    *,
    filename: str,
    now: datetime,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> tuple[Tables, QualityReport]:
    """Read an upload, check every row, and say what was found.

    Args:
        path: A local copy of the upload; a zip is unpacked beside it for the while.
        filename: What the uploader called it.
        now: Present time with zone; events more than a day later are rejected.
        progress: Told the share done and what is being read.

    Raises:
        DatasetError: if the file as a whole can't be used; the message is for a person.
    """
    if now.tzinfo is None:
        raise ValueError(f"now is {now}, expected a time with a zone")
    limits = limits or Limits()
    report = QualityReport(shown=limits.rejected_rows_shown)
    job = Job(mapping, filename, now, limits, report, progress or (lambda done, message: None))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="unpacked-") as folder:
        job.progress(0.0, "opening the file")
        sources = open_upload(
            path,
            filename=filename,
            folder=Path(folder),
            limits=limits,
            wants=partial(_wants, mapping),
            warn=report.warn,
        )
        tables = _read(job, _assign(job, sources))
    job.progress(1.0, "the file is read")
    return tables, report


def _wants(mapping: Mapping, name: str) -> bool:
    """Whether the mapping needs this file of a zip."""
    stem, _, suffix = name.lower().rpartition(".")
    table = suffix in ("csv", "tsv", "parquet")
    for mapped in mapping.tables:
        if mapped.file is not None:
            if Path(mapped.file).name.lower() == name.lower():
                return True
        elif table and (mapping.format == "wide" or stem == mapped.table):
            return True
    return False


def _assign(job: Job, sources: list[Source]) -> list[tuple[TableMapping, Source]]:
    """Which file is which table."""
    mapped = job.mapping.tables
    if len(mapped) == 1 and len(sources) == 1:
        return [(mapped[0], sources[0])]
    if job.mapping.format == "wide" and mapped[0].file is None:
        names = [source.name for source in sources]
        raise DatasetError(f"{job.filename} has the files {names}, expected one table")
    standard = job.mapping.format == "standard"
    if standard and not any(source.stem in NAMES for source in sources):
        raise DatasetError(
            f"{job.filename} is none of {list(NAMES)}: expected a zip of those as .csv or "
            ".parquet, or a mapping that says what the columns mean"
        )
    files = []
    for table in mapped:
        source = find(sources, file=table.file, table=table.table, filename=job.filename)
        if source is not None:
            files.append((table, source))
        elif job.mapping.format == "narrow":
            raise DatasetError(f"{job.filename} has no file for {table.table}")
        else:
            job.report.warn(f"{job.filename} has no file for {table.table}")
    if not any(table.table in ("users", "events") for table, _ in files):
        raise DatasetError(f"{job.filename} has neither users nor events, expected one at least")
    return files


def _read(job: Job, assigned: list[tuple[TableMapping, Source]]) -> Tables:
    total = sum(source.path.stat().st_size for _, source in assigned)
    before = 0.0
    nodes: dict[str, pl.DataFrame] = {}
    events: list[tuple[str, pl.DataFrame]] = []
    for mapped, source in assigned:
        share = source.path.stat().st_size / total
        done = partial(_done, job, source.name, before, share)
        before += share
        done(0.0)
        layout = _layout(job, mapped, source)
        wanted = tuple(c.column for c in mapped.columns if c.column in layout.columns)
        used = tuple(c for c in wanted if not _is_ignored(mapped, c))
        read = Read(source, layout, used, mapped.table, job.report, done)
        origin = RowOrigin(mapped.table, source.name, job.report)
        if mapped.table == "events":
            events.append((source.name, event_rows(batches(read), mapped, origin, now=job.now)))
            continue
        name = NODES[mapped.table]
        rows = node_rows(batches(read), mapped, f"{name}_id", origin)
        nodes[name] = rows
        if job.mapping.format == "wide":
            nodes["product"], made = _products(job, mapped, rows)
            events.append(("", made))
    return _linked(job, nodes, events)


def _done(job: Job, name: str, before: float, share: float, done: float) -> None:
    job.progress(0.05 + 0.85 * (before + share * done), f"reading {name}")


def _is_ignored(mapped: TableMapping, header: str) -> bool:
    return any(c.column == header and c.roles == ("ignored",) for c in mapped.columns)


def _layout(job: Job, mapped: TableMapping, source: Source) -> Layout:
    """The file's columns, checked against the mapping's."""
    layout = look(source, job.limits, encoding=mapped.encoding, delimiter=mapped.delimiter)
    columns = list(layout.columns)
    if len(columns) > job.limits.columns:
        raise DatasetError(
            f"{source.name} has {len(columns)} columns, expected at most {job.limits.columns}"
        )
    for column in mapped.columns:
        if columns.count(column.column) > 1:
            raise DatasetError(f"{source.name} has the column {column.column!r} twice")
        if column.column in columns or column.roles == ("ignored",):
            continue
        if not column.optional:
            raise DatasetError(
                f"{source.name} has no column {column.column!r}, which the mapping names; "
                f"it has {columns[:100]}{_advice(layout)}"
            )
        if column.kind is not None or "label" in column.roles:
            job.report.warn(f"{source.name} has no column {column.column}: missing for all")
    unnamed = [name for name in columns if name not in {c.column for c in mapped.columns}]
    if unnamed:
        job.report.warn(f"{source.name}: ignored columns the mapping doesn't name: {unnamed[:100]}")
    if layout.encoding in ("cp1252", "latin-1") and mapped.encoding is None:
        job.report.warn(f"{source.name} is not UTF-8 and was read as {layout.encoding}")
    job.report.files.append(
        FileRead(
            name=source.name,
            table=mapped.table,
            encoding=layout.encoding,
            delimiter=layout.delimiter,
            columns=columns[:100],
        )
    )
    return layout


def _advice(layout: Layout) -> str:
    """What a CSV may lack where a column isn't found."""
    if layout.delimiter is None:
        return ""
    advice = "; the first line has to name the columns"
    if len(layout.columns) > 1:
        return advice
    return f"{advice}, with one character between them: give delimiter if it is an unusual one"


def _products(
    job: Job, mapped: TableMapping, rows: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Products and orders out of the product columns of a wide table."""
    orders = []
    names = []
    for hit, (column, product, values) in product_columns(mapped).items():
        names.append(product)
        having = rows.filter(pl.col(hit)).select(LINE, actor="user_id", target=pl.lit(product))
        orders.append(having)
        if not having.height:
            job.report.warn(f"nobody has {product!r}: {column.column!r} never says {list(values)}")
    products = pl.DataFrame(
        {"product_id": names, "name": names},
        schema_overrides={"name": pl.String, "product_id": pl.String},
    )
    if not orders:
        return products, pl.DataFrame()
    made = pl.concat(orders).with_columns(type=pl.lit("order"), target_type=pl.lit("product"))
    job.report.made_events = made.height
    return products, made


def _linked(
    job: Job, nodes: dict[str, pl.DataFrame], events: list[tuple[str, pl.DataFrame]]
) -> Tables:
    job.progress(0.9, "linking events to users, products and apps")
    schema = job.mapping.schema
    linked = link_events(schema, nodes, events, job.report)
    tables = make_tables(schema, **linked)
    if tables.users.is_empty():
        raise DatasetError(f"{job.filename} has no row that can be used: {_reasons(job.report)}")
    _describe(job, tables)
    return tables


def _reasons(report: QualityReport) -> str:
    counted = [
        f"{count} {reason} in {name}"
        for name, quality in report.tables.items()
        for reason, count in quality.reasons.items()
    ]
    return ", ".join(counted) or "there are none"


def _describe(job: Job, tables: Tables) -> None:
    report = job.report
    warn_of_rows(report)
    time = tables.events["timestamp"].drop_nulls()
    if len(time):
        first, last = time.min(), time.max()
        assert isinstance(first, datetime)
        assert isinstance(last, datetime)
        report.time_range = (first.isoformat(), last.isoformat())
        if last.year < OLD_YEAR:
            report.warn(
                f"the times end in {last.year}: were they seconds, not milliseconds? Give the "
                "column of times the unit that it is written in"
            )
        if len(time) < tables.events.height:
            report.warn(f"{tables.events.height - len(time)} events have no time")
    elif tables.events.height:
        report.warn("the events have no time: nothing can be split by time")
    if report.times_without_zone:
        report.warn(f"{report.times_without_zone} times without a zone were taken as UTC")
    if tables.schema.label is not None:
        label = tables.users[tables.schema.label]
        positive = int(label.sum())
        missing = label.null_count()
        report.label = {
            "positive": positive,
            "negative": len(label) - missing - positive,
            "missing": missing,
        }
        if missing < len(label) and positive in (0, len(label) - missing):
            report.warn(f"all labels {tables.schema.label!r} are the same: {report.label}")
