"""Tables of interactions, as people have them, to graphs."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import polars as pl

from ml.data.frames import EVENT_COLUMNS
from ml.data.schema import EdgeType, Feature, GraphSchema, NodeType
from ml.graph.graph import Graph, build_graph


def columns_of(path: Path) -> list[str]:
    """Names in the header of a file."""
    return _table(path).columns


def read_interactions(path: Path, columns: list[str]) -> pl.DataFrame:
    """Columns ``src``, ``dst`` and, where a third one is named, ``time`` (seconds).

    Args:
        columns: Two or three names of the file's header: source, target, time.

    Raises:
        SystemExit: if a column is not there, or a time is no number and no date.
    """
    frame = _table(path)
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise SystemExit(f"{path} has no column {missing}; it has {frame.columns}")
    found = frame.select(pl.col(columns[0]).alias("src"), pl.col(columns[1]).alias("dst"))
    if len(columns) < 3:
        return found.drop_nulls()
    raw = frame[columns[2]]
    seconds = raw.cast(pl.Float64, strict=False)
    if seconds.null_count():
        try:
            seconds = raw.str.to_datetime(strict=False).dt.epoch("s").cast(pl.Float64)
        except pl.exceptions.ComputeError:
            seconds = pl.Series([None] * len(raw), dtype=pl.Float64)
    if seconds.null_count() > raw.null_count():
        raise SystemExit(f"{path}: {columns[2]} has values that are no number and no date")
    return found.with_columns(time=seconds).drop_nulls().sort("time", maintain_order=True)


def _table(path: Path) -> pl.DataFrame:
    """A delimited file with a header, everything as text; Parquet by its ending."""
    if path.suffix == ".parquet":
        return pl.read_parquet(path).cast(pl.String)
    with path.open(encoding="utf-8") as lines:
        head = lines.readline()
    separator = max("\t,;| ", key=head.count)
    return pl.read_csv(path, separator=separator, infer_schema=False)


def features_of(path: Path | None) -> tuple[tuple[Feature, ...], pl.DataFrame | None]:
    """Attributes of nodes: a table whose first column is the id; numbers are numeric."""
    if path is None:
        return (), None
    frame = _table(path)
    key, *names = frame.columns
    columns, features = [pl.col(key).alias("id")], []
    for name in names:
        numeric = frame[name].cast(pl.Float64, strict=False)
        kind = "numeric" if numeric.null_count() == frame[name].null_count() else "categorical"
        columns.append(pl.col(name).cast(pl.Float64 if kind == "numeric" else pl.String))
        features.append(Feature(name, "numeric" if kind == "numeric" else "categorical"))
    return tuple(features), frame.select(columns).unique("id", keep="first")


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
