"""Frames to graph: id maps both ways, edges with their times, sampled scope, append from events."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from ml.contracts.schema import USER, EdgeKey, GraphSchema

Ints = npt.NDArray[np.int64]
Scope = Literal["full", "sampled"]

UNKNOWN_TIME = np.iinfo(np.int64).min
"""Time of an event without one in data that has times: older than everything known."""


@dataclass(frozen=True)
class Edges:
    """Events of one edge type, in the order of the data.

    Args:
        src: Index of the source node. Shape: [E].
        dst: Index of the target node. Shape: [E].
        time: Seconds since 1970, UTC; None where no event of this type has a time. Shape: [E].
    """

    src: Ints
    dst: Ints
    time: Ints | None = None

    def __len__(self) -> int:
        return len(self.src)

    def take(self, rows: npt.NDArray[Any]) -> "Edges":
        """The events at ``rows`` (a mask or indices)."""
        time = None if self.time is None else self.time[rows]
        return Edges(self.src[rows], self.dst[rows], time)

    def join(self, other: "Edges") -> "Edges":
        """These events, then the other ones."""
        time = None
        if self.time is not None or other.time is not None:
            time = np.concatenate([_times(self), _times(other)])
        src = np.concatenate([self.src, other.src])
        return Edges(src, np.concatenate([self.dst, other.dst]), time)


@dataclass(frozen=True)
class Pairs:
    """Distinct (src, dst) of one edge type, sorted: what messages travel along.

    Args:
        count: Events behind each pair. Shape: [P].
        time: Time of the latest of them, in seconds. Shape: [P].
    """

    src: Ints
    dst: Ints
    count: Ints
    time: Ints | None = None

    def __len__(self) -> int:
        return len(self.src)


@dataclass(frozen=True)
class Graph:
    """A heterogeneous graph: nodes with features, and edges by type.

    Args:
        node_ids: Id of each node by node type; its position is the node's index.
        features: One row a node, a column a feature of the schema, in the order of ``node_ids``.
        edges: Events by edge type; every edge type of the schema is there, if empty.
        labels: Label of each user: 0, 1 or -1 for unknown; None where the schema has no label.
        scope: ``full``, or ``sampled`` with the share of users kept.
        listed: How many nodes of each type, the first ones, are of the data's tables; the others
            came with events. All of them if it is not given.
    """

    schema: GraphSchema
    node_ids: Mapping[str, tuple[str, ...]]
    features: Mapping[str, pl.DataFrame]
    edges: Mapping[EdgeKey, Edges]
    labels: npt.NDArray[np.int8] | None = None
    scope: Scope = "full"
    sample_ratio: float = 1.0
    dropped_events: int = 0
    listed: Mapping[str, int] = field(default_factory=dict)
    _index: dict[str, dict[str, int]] = field(default_factory=dict, repr=False, compare=False)
    _pairs: dict[EdgeKey, Pairs] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.listed:
            object.__setattr__(self, "listed", self.num_nodes)

    @property
    def num_nodes(self) -> dict[str, int]:
        return {name: len(ids) for name, ids in self.node_ids.items()}

    @property
    def num_events(self) -> int:
        return sum(len(edges) for edges in self.edges.values())

    def index(self, node_type: str) -> dict[str, int]:
        """Id to index; the way back is ``node_ids``."""
        if node_type not in self._index:
            ids = self.node_ids[node_type]
            self._index[node_type] = {node_id: i for i, node_id in enumerate(ids)}
        return self._index[node_type]

    def pairs(self, key: EdgeKey) -> Pairs:
        """Distinct pairs of one edge type."""
        if key not in self._pairs:
            self._pairs[key] = distinct_pairs(self.edges[key], self.num_nodes[key[2]])
        return self._pairs[key]

    @property
    def has_times(self) -> bool:
        """Whether an event of any type has a time."""
        return any(edges.time is not None for edges in self.edges.values())

    def latest(self) -> int:
        """When the latest event was, in seconds since 1970; 0 where no time is known."""
        times = (edges.time for edges in self.edges.values() if edges.time is not None)
        return max([0, *(int(time.max()) for time in times if len(time))])

    def known_nodes(self, node_type: str) -> npt.NDArray[np.bool_]:
        """Which nodes of a type are there already. Shape: [n].

        Where events have times, those with an edge, either way: others have not come yet. Without
        times also those that are listed.
        """
        known = np.arange(len(self.node_ids[node_type])) < self.known_from_start(node_type)
        for (source, _, target), edges in self.edges.items():
            for name, ends in ((source, edges.src), (target, edges.dst)):
                if name == node_type:
                    known[ends] = True
        return known

    def known_from_start(self, node_type: str) -> int:
        """How many nodes of a type, the first ones, need no edge to be known."""
        timed = any(
            edges.time is not None
            for (source, _, target), edges in self.edges.items()
            if node_type in (source, target)
        )
        return 0 if timed else self.listed[node_type]

    def with_edges(self, edges: Mapping[EdgeKey, Edges]) -> "Graph":
        """The same nodes with other edges."""
        return replace(self, edges=dict(edges), _pairs={})

    def edges_of(self, events: pl.DataFrame) -> dict[EdgeKey, Edges]:
        """``events`` by edge type, with this graph's indices.

        Events of an unknown type, or with an end that is no node of the graph, are left out.
        """
        return _edges(self.schema, self.node_ids, events, keep_timestamps=True)[0]

    def append(self, events: pl.DataFrame) -> "Graph":
        """A graph with ``events`` added; unknown ids become new nodes with empty features.

        Node indices that were there stay as they are. Events of a type that the schema does not
        know are counted in ``dropped_events``.
        """
        node_ids = {name: _extended(name, self, events) for name in self.node_ids}
        features = {name: _padded(self.features[name], len(ids)) for name, ids in node_ids.items()}
        labels = self.labels
        if labels is not None:
            added = len(node_ids[USER]) - len(labels)
            labels = np.concatenate([labels, np.full(added, -1, np.int8)])
        new, dropped = _edges(self.schema, node_ids, events, keep_timestamps=True)
        edges = {key: old.join(new[key]) for key, old in self.edges.items()}
        return replace(
            self, node_ids=node_ids, features=features, edges=edges, labels=labels,
            dropped_events=self.dropped_events + dropped, _index={}, _pairs={},
        )  # fmt: skip


def distinct_pairs(edges: Edges, num_targets: int) -> Pairs:
    """Collapse events into distinct pairs with their number and the latest time."""
    code = edges.src * max(num_targets, 1) + edges.dst
    unique, inverse, count = np.unique(code, return_inverse=True, return_counts=True)
    time = None
    if edges.time is not None:
        time = np.full(len(unique), UNKNOWN_TIME, np.int64)
        np.maximum.at(time, inverse, edges.time)
    src, dst = np.divmod(unique, max(num_targets, 1))
    return Pairs(src, dst, count.astype(np.int64), time)


def build_graph(
    tables: Any,
    *,
    scope: Scope = "full",
    sample_ratio: float = 1.0,
    seed: int = 0,
    keep_timestamps: bool = True,
) -> Graph:
    """Build the graph of a dataset.

    Args:
        tables: ``ml.data.tables.Tables``, or anything with its ``schema``, ``events`` and a frame
            for each node type.
        scope: ``sampled`` keeps a seeded share of the users and drops events with an end at
            somebody who was not kept.
        sample_ratio: Share of users to keep, above 0 and at most 1; used by ``sampled`` alone.
        keep_timestamps: False forgets the times of events.

    Raises:
        ValueError: on an unknown scope, a ratio out of range, or a dataset without users.
    """
    if scope not in ("full", "sampled"):
        raise ValueError(f"scope is {scope!r}, expected 'full' or 'sampled'")
    if not 0.0 < sample_ratio <= 1.0:
        raise ValueError(f"sample_ratio is {sample_ratio}, expected above 0 and at most 1")
    schema: GraphSchema = tables.schema
    frames = {node.name: getattr(tables, node.table) for node in schema.nodes}
    if not len(frames[USER]):
        raise ValueError("the dataset has no users: a graph needs at least one")
    if scope == "sampled":
        frames[USER] = _sample(frames[USER], sample_ratio, seed)
    node_ids = {
        node.name: tuple(frames[node.name][node.id_column].to_list()) for node in schema.nodes
    }
    features = {
        node.name: frames[node.name].select([feature.name for feature in node.features])
        for node in schema.nodes
    }
    edges, dropped = _edges(schema, node_ids, tables.events, keep_timestamps=keep_timestamps)
    return Graph(
        schema=schema, node_ids=node_ids, features=features, edges=edges,
        labels=_labels(schema, frames[USER]), scope=scope,
        sample_ratio=sample_ratio if scope == "sampled" else 1.0, dropped_events=dropped,
    )  # fmt: skip


def _sample(users: pl.DataFrame, ratio: float, seed: int) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    size = max(1, round(ratio * len(users)))
    return users[np.sort(generator.choice(len(users), size=size, replace=False))]


def _labels(schema: GraphSchema, users: pl.DataFrame) -> npt.NDArray[np.int8] | None:
    if schema.label is None or schema.label not in users.columns:
        return None
    return users[schema.label].cast(pl.Int8).fill_null(-1).to_numpy().copy()


def _edges(
    schema: GraphSchema,
    node_ids: Mapping[str, tuple[str, ...]],
    events: pl.DataFrame,
    *,
    keep_timestamps: bool,
) -> tuple[dict[EdgeKey, Edges], int]:
    """Events by edge type, and how many had an unknown type or an end that is no node."""
    maps = {
        name: pl.DataFrame(
            {"id": pl.Series(ids, dtype=pl.String), "i": np.arange(len(ids), dtype=np.int64)}
        )
        for name, ids in node_ids.items()
    }
    edges = {}
    for edge in schema.edges:
        linked = (
            events.filter(type=edge.event, target_type=edge.target)
            .select("actor", "target", pl.col("timestamp").dt.epoch("s").alias("time"))
            .join(maps[edge.source], left_on="actor", right_on="id", maintain_order="left")
            .join(
                maps[edge.target], left_on="target", right_on="id", suffix="_dst",
                maintain_order="left",
            )
        )  # fmt: skip
        timed = keep_timestamps and linked["time"].null_count() < len(linked)
        time = linked["time"].fill_null(int(UNKNOWN_TIME)).to_numpy().copy() if timed else None
        edges[edge.key] = Edges(
            linked["i"].to_numpy().copy(), linked["i_dst"].to_numpy().copy(), time
        )
    return edges, len(events) - sum(len(own) for own in edges.values())


def _times(edges: Edges) -> Ints:
    return np.full(len(edges), UNKNOWN_TIME, np.int64) if edges.time is None else edges.time


def _extended(name: str, graph: Graph, events: pl.DataFrame) -> tuple[str, ...]:
    """Ids of one node type, then the unknown ones in the order in which the events name them."""
    known = graph.index(name)
    relations = [edge for edge in graph.schema.edges if name in (edge.source, edge.target)]
    ends = pl.concat(
        [pl.DataFrame({"row": [], "id": []}, schema={"row": pl.UInt32, "id": pl.String})]
        + [
            events.with_row_index("row")
            .filter(type=edge.event, target_type=edge.target)
            .select("row", pl.col(column).alias("id"))
            for edge in relations
            for column, end in (("actor", edge.source), ("target", edge.target))
            if end == name
        ]
    )
    ordered = ends.sort("row", maintain_order=True)["id"].unique(maintain_order=True)
    new = [node_id for node_id in ordered.to_list() if node_id not in known]
    return (*graph.node_ids[name], *new)


def _padded(frame: pl.DataFrame, height: int) -> pl.DataFrame:
    """The frame with rows of nulls added up to ``height`` (frames without columns stay)."""
    if not frame.width or frame.height == height:
        return frame
    empty = pl.DataFrame(
        {column: pl.Series([None] * (height - frame.height), dtype=kind)
         for column, kind in frame.schema.items()}
    )  # fmt: skip
    return pl.concat([frame, empty])
