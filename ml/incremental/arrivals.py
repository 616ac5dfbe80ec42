"""Events and features on their way into a graph that is there: by id, before they are indices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ml.contracts.schema import EdgeType, GraphSchema
from ml.graph.graph import UNKNOWN_TIME

EVENT_COLUMNS = ("actor", "target", "target_type", "type")


class SchemaChanged(ValueError):
    """Data of another schema, or of another model: what is cached has no meaning for it."""


@dataclass(frozen=True)
class Link:
    """One event as an edge.

    Args:
        time: Seconds since 1970, or ``UNKNOWN_TIME``.
    """

    edge: EdgeType
    source: str
    target: str
    time: int


def links_of(schema: GraphSchema, events: pl.DataFrame) -> tuple[list[Link], int]:
    """Events as edges, in their order.

    Returns:
        The edges, and how many events make none: of a type that the schema does not know, or
        without an actor or target.

    Raises:
        ValueError: if a column is missing.
    """
    missing = [name for name in EVENT_COLUMNS if name not in events.columns]
    if missing:
        raise ValueError(
            f"events have the columns {events.columns}, expected also {missing}: "
            "send them in the standard envelope"
        )
    edges_by_event: dict[tuple[str, str], list[EdgeType]] = {}
    for edge in schema.edges:
        edges_by_event.setdefault((edge.event, edge.target), []).append(edge)
    links, ignored = [], 0
    columns = [events[name].to_list() for name in EVENT_COLUMNS]
    for actor, target, target_type, event, time in zip(*columns, times_of(events), strict=True):
        edges = edges_by_event.get((event, target_type))
        if edges is None or actor is None or target is None:
            ignored += 1
        else:
            links += [Link(edge, actor, target, time) for edge in edges]
    return links, ignored


def times_of(events: pl.DataFrame) -> list[int]:
    """When events were, in seconds since 1970; ``UNKNOWN_TIME`` where it is not told."""
    if "timestamp" not in events.columns:
        return [UNKNOWN_TIME] * len(events)
    seconds: list[int] = events["timestamp"].dt.epoch("s").fill_null(UNKNOWN_TIME).to_list()
    return seconds


def check_features(schema: GraphSchema, features: Mapping[str, pl.DataFrame]) -> None:
    """Raises: SchemaChanged if features are not those of the schema."""
    names = {node.name for node in schema.nodes}
    for node_type, frame in features.items():
        if node_type not in names:
            raise SchemaChanged(
                f"features came for {node_type!r} nodes, the schema knows {sorted(names)}: refresh "
                "from a dataset with the new schema"
            )
        node = schema.node(node_type)
        expected = [node.id_column, *(feature.name for feature in node.features)]
        missing = [name for name in expected if name not in frame.columns]
        if missing:
            raise SchemaChanged(
                f"features of {node_type!r} nodes have no {missing}, the model needs {expected}: "
                "refresh from a dataset with the new schema"
            )


def features_of(
    schema: GraphSchema, node_type: str, ids: Sequence[str], given: pl.DataFrame | None
) -> pl.DataFrame:
    """The features of nodes, a row for each id; null where none are given.

    Args:
        given: A column of ids beside the features; of equal ids the last row counts.
    """
    node = schema.node(node_type)
    wanted = pl.DataFrame({node.id_column: pl.Series(ids, dtype=pl.String)})
    kinds = {"numeric": pl.Float64, "categorical": pl.String}
    if given is None or not given.height:
        return pl.DataFrame(
            {f.name: pl.Series([None] * len(ids), dtype=kinds[f.kind]) for f in node.features}
        )
    latest = given.unique(node.id_column, keep="last").with_columns(
        pl.col(node.id_column).cast(pl.String)
    )
    joined = wanted.join(latest, on=node.id_column, how="left", maintain_order="left")
    return joined.select(feature.name for feature in node.features)
