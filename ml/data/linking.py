"""Events and the nodes at their ends: every end exists, every open target type is found."""

import polars as pl

from ml.contracts.schema import GraphSchema
from ml.data.frames import EVENT_COLUMNS, conform
from ml.data.quality import LINE, QualityReport
from ml.data.read_warnings import SHARE, share

FILE = "file number"
COLUMNS = {LINE: pl.Int64(), FILE: pl.Int32(), **EVENT_COLUMNS}
OPEN = pl.col("target_type").is_null()


def link_events(
    schema: GraphSchema,
    nodes: dict[str, pl.DataFrame],
    events: list[tuple[str, pl.DataFrame]],
    report: QualityReport,
) -> dict[str, pl.DataFrame]:
    """Tables whose events all end at nodes that exist.

    An event whose ``event_id`` was there before is rejected; a target type that is open is looked
    up among the known products and apps. An end that no table has becomes a node with missing
    features; where the upload has no such table, the nodes come from the events.

    Args:
        nodes: By node type, those of the tables there are.
        events: Name of the file and its rows with LINE; the name is empty where the rows were
            made from a wide table.

    Returns: ``users``, ``products``, ``apps``, ``events``.
    """
    files = [name for name, _ in events]
    parts = [
        conform(rows, COLUMNS).with_columns(pl.lit(index, dtype=pl.Int32).alias(FILE))
        for index, (_, rows) in enumerate(events)
    ]
    rows = pl.concat(parts) if parts else pl.DataFrame(schema=dict(COLUMNS))
    rows = _without_repeated_ids(rows, files, report)
    rows = _with_targets(rows, schema, nodes, files, report)
    _count_copies(rows, report)
    read = [index for index, name in enumerate(files) if name]
    if read:
        report.table("events").rows_kept += rows.filter(pl.col(FILE).is_in(read)).height
    linked = rows.select(*EVENT_COLUMNS)
    frames = {"events": linked}
    for node in schema.nodes:
        table = nodes.get(node.name)
        frames[node.table] = _with_ends(node.name, table, linked, report)
    return frames


def _reject(
    rows: pl.DataFrame, column: str, reason: str, files: list[str], report: QualityReport
) -> None:
    for index, name in enumerate(files):
        here = rows.filter(pl.col(FILE) == index)
        if here.height:
            bad = here.select(
                LINE, column=pl.lit(column), value=pl.col(column), reason=pl.lit(reason)
            )
            report.reject_frame("events", name, bad, "row")


def _without_repeated_ids(
    rows: pl.DataFrame, files: list[str], report: QualityReport
) -> pl.DataFrame:
    repeated = pl.col("event_id").is_not_null() & ~pl.col("event_id").is_first_distinct()
    again = rows.filter(repeated)
    if not again.height:
        return rows
    report.duplicates["events"] += again.height
    _reject(again, "event_id", "duplicate event_id", files, report)
    return rows.filter(~repeated)


def _with_targets(
    rows: pl.DataFrame,
    schema: GraphSchema,
    nodes: dict[str, pl.DataFrame],
    files: list[str],
    report: QualityReport,
) -> pl.DataFrame:
    """Fill in open target types by looking the target up; what stays open is rejected."""
    if not rows["target_type"].null_count():
        return rows
    is_product = _is_known("product", rows, nodes)
    is_app = _is_known("app", rows, nodes)
    needed = "target_type needed"
    both = rows.filter(OPEN & is_product & is_app)
    neither = rows.filter(OPEN & ~is_product & ~is_app)
    _reject(both, "target", f"target is a product and an app, {needed}", files, report)
    _reject(neither, "target", f"target is no known product or app, {needed}", files, report)
    one = rows.filter(~OPEN | (is_product ^ is_app))
    looked_up = pl.when(is_product).then(pl.lit("product")).otherwise(pl.lit("app"))
    filled = one.with_columns(target_type=pl.coalesce("target_type", looked_up))
    pairs = [f"{edge.event} {edge.target}" for edge in schema.edges]
    fits = pl.concat_str("type", "target_type", separator=" ").is_in(pairs)
    _reject(filled.filter(~fits), "target", "no edge of this type to such a target", files, report)
    return filled.filter(fits)


def _is_known(name: str, rows: pl.DataFrame, nodes: dict[str, pl.DataFrame]) -> pl.Expr:
    """Whether the target is a node of this type, by its table or by another event."""
    known = [rows.filter(pl.col("target_type") == name)["target"]]
    if name in nodes:
        known.append(nodes[name][f"{name}_id"])
    return pl.col("target").is_in(pl.concat(known).unique().implode())


def _count_copies(rows: pl.DataFrame, report: QualityReport) -> None:
    time = pl.col("timestamp")
    for where, what, kept in (
        (time.is_not_null(), "events", "kept"),
        (time.is_null(), "events without a time", "kept as events of their own"),
    ):
        unnamed = rows.filter(pl.col("event_id").is_null() & where)
        unnamed = unnamed.select("type", "timestamp", "actor", "target", "target_type")
        copies = unnamed.height - unnamed.n_unique() if unnamed.height else 0
        if copies:
            report.warn(f"{copies} {what} repeat another one to the letter; they are {kept}")


def _with_ends(
    name: str, table: pl.DataFrame | None, events: pl.DataFrame, report: QualityReport
) -> pl.DataFrame:
    """The nodes of one type, with those that only the events know at the end."""
    id_column = f"{name}_id"
    ends = events.filter(pl.col("target_type") == name)["target"]
    if name == "user":
        ends = pl.concat([events["actor"], ends])
    if table is None:
        ids = ends.unique(maintain_order=True).alias(id_column)
        if len(ids):
            report.warn(f"there is no table of {name}s: {len(ids)} were made from the events")
        made = pl.DataFrame({id_column: ids})
        return made if name == "user" else made.with_columns(name=id_column)
    known = table[id_column]
    unknown = ends.filter(~ends.is_in(known.implode())).unique(maintain_order=True)
    if not len(unknown):
        return table
    strange = (pl.col("target_type") == name) & pl.col("target").is_in(unknown.implode())
    if name == "user":
        strange = strange | pl.col("actor").is_in(unknown.implode())
    dangling = events.filter(strange).height
    report.dangling[name] += dangling
    whole = events.height if name == "user" else len(ends)
    if dangling >= SHARE * whole:
        has = f"has ids such as {known[0]!r}" if len(known) else "is empty"
        report.warn(
            f"{dangling} of the {whole} events with {name}s ({share(dangling, whole)}) have one "
            f"that the table of {name}s does not have, such as {unknown[0]!r}; the table {has}. "
            "Are the ids written alike?"
        )
    report.created[name] += len(unknown)
    created = pl.DataFrame({id_column: unknown})
    return pl.concat([table, created], how="diagonal")
