"""The checked tables of a dataset: one frame a node type, one of events."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from ml.contracts.schema import GraphSchema, NodeType

EVENT_COLUMNS: Final[dict[str, pl.DataType]] = {
    "event_id": pl.String(),
    "type": pl.String(),
    "timestamp": pl.Datetime("us", "UTC"),
    "actor": pl.String(),
    "target": pl.String(),
    "target_type": pl.String(),
}
NAMES = ("users", "products", "apps", "events")


@dataclass(frozen=True)
class Tables:
    """A dataset after all checks.

    Args:
        schema: What the columns mean.
        users: ``user_id: String``, the features (numeric Float64, finite; categorical String) and
            the label (Int8, 0 or 1) if the schema has one. Null means missing, ids are unique.
        products: The same with ``product_id``; empty if the schema has no products.
        apps: The same with ``app_id``.
        events: ``event_id`` (or null), ``type``, ``timestamp`` (UTC, or null), ``actor`` (a user),
            ``target``, ``target_type``. Both ends are in the tables, (type, target_type) is an
            edge type of the schema.
    """

    schema: GraphSchema
    users: pl.DataFrame
    products: pl.DataFrame
    apps: pl.DataFrame
    events: pl.DataFrame

    def nodes(self, name: str) -> pl.DataFrame:
        """The table of the node type ``name``."""
        return {"user": self.users, "product": self.products, "app": self.apps}[name]

    @property
    def labelled(self) -> pl.DataFrame:
        """``user_id`` and ``label`` (Int8) of the users that have one, in the order of users."""
        if self.schema.label is None:
            return pl.DataFrame(schema={"user_id": pl.String, "label": pl.Int8})
        return self.users.select("user_id", label=self.schema.label).drop_nulls("label")

    @property
    def timed(self) -> bool:
        """Whether any event has a time."""
        return self.events["timestamp"].null_count() < self.events.height


def node_columns(schema: GraphSchema, node: NodeType) -> dict[str, pl.DataType]:
    """Names and types of the columns of a node type's table."""
    columns: dict[str, pl.DataType] = {node.id_column: pl.String()}
    for feature in node.features:
        columns[feature.name] = pl.Float64() if feature.kind == "numeric" else pl.String()
    if node.name == "user" and schema.label is not None:
        columns[schema.label] = pl.Int8()
    return columns


def make_tables(
    schema: GraphSchema,
    *,
    users: pl.DataFrame,
    products: pl.DataFrame | None = None,
    apps: pl.DataFrame | None = None,
    events: pl.DataFrame | None = None,
) -> Tables:
    """Tables of frames whose content is right: columns are put in order, missing ones are null.

    Raises:
        polars.exceptions.PolarsError: if a column can't be cast to its type.
    """
    given = {"user": users, "product": products, "app": apps}
    frames = {}
    for name, frame in given.items():
        has = any(node.name == name for node in schema.nodes)
        node = schema.node(name) if has else NodeType(name)
        frames[name] = conform(frame, node_columns(schema, node))
    return Tables(
        schema, frames["user"], frames["product"], frames["app"], conform(events, EVENT_COLUMNS)
    )


def conform(frame: pl.DataFrame | None, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The frame with exactly these columns and types; None gives an empty one."""
    if frame is None:
        return pl.DataFrame(schema=dict(columns))
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in columns.items()
    )


def event_counts(tables: Tables) -> pl.DataFrame:
    """How many events of each type every user acted in, as the rules read them.

    Returns: one row a user, in the order of ``users``: ``user_id`` and ``event_counts.<type>``
        (Int64) for each event type of the schema; null: none.
    """
    counts = tables.users.select("user_id")
    for kind in tables.schema.event_types:
        column = f"event_counts.{kind}"
        of_kind = tables.events.filter(pl.col("type") == kind).group_by("actor")
        counted = of_kind.agg(pl.len().cast(pl.Int64).alias(column))
        counts = counts.join(
            counted, left_on="user_id", right_on="actor", how="left", maintain_order="left"
        )
    return counts


def save_tables(tables: Tables, folder: Path) -> list[Path]:
    """Write the tables as Parquet and the schema as JSON; returns the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "schema.json"]
    paths[0].write_text(json.dumps(tables.schema.to_dict(), indent=2), encoding="utf-8")
    for name in NAMES:
        path = folder / f"{name}.parquet"
        getattr(tables, name).write_parquet(path)
        paths.append(path)
    return paths


def load_tables(folder: Path) -> Tables:
    """The tables that ``save_tables`` wrote.

    Raises:
        FileNotFoundError: if one of the files isn't there.
    """
    data = json.loads((folder / "schema.json").read_text(encoding="utf-8"))
    schema = GraphSchema.from_dict(data)
    frames = {name: pl.read_parquet(folder / f"{name}.parquet") for name in NAMES}
    return make_tables(schema, **frames)
