"""The pairs of a graph as compressed sparse rows from both ends, in memory or in mapped files.

8 bytes a pair and 8 bytes a node for each end of an edge type; with times 32 bytes a pair more.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.compute.compiling import kernel
from ml.contracts.schema import EdgeKey, GraphSchema
from ml.graph.graph import Graph
from ml.graph.message_types import MessageType

Array = npt.NDArray[Any]
FORMAT = 1
SMALL = 4096
"""Files of fewer bytes are read whole."""


@dataclass(frozen=True)
class Side:
    """Neighbours of every node along one edge type, seen from one end.

    Args:
        start: Neighbours of node v are ``other[start[v]:start[v + 1]]``. int64, shape: [n + 1].
        other: Ascending in each row, or in the order of ``time``. int32, shape: [P].
        time: When each pair was there first, in seconds; empty where times play no part.
    """

    start: Array
    other: Array
    time: Array = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def num_nodes(self) -> int:
        return len(self.start) - 1


@dataclass(frozen=True)
class Links:
    """The distinct pairs of one edge type.

    Args:
        by_source: ``other`` are targets, ascending. by_target: ``other`` are sources, ascending.
        early_by_source: The same pairs with their first times, ascending in each row; None where
            have no times. early_by_target: Likewise.
        order: Indices in ``early_by_source`` of all pairs by first time. Shape: [P].
    """

    by_source: Side
    by_target: Side
    early_by_source: Side | None = None
    early_by_target: Side | None = None
    order: Array | None = None

    @property
    def num_pairs(self) -> int:
        return len(self.by_source.other)

    @classmethod
    def of(
        cls, source: Array, target: Array, sources: int, targets: int, time: Array | None = None
    ) -> "Links":
        """Sort distinct pairs.

        Args:
            source: Shape: [P].
            time: First time of each pair.

        Raises:
            ValueError: if a pair names a node that is not there.
        """
        for nodes, count in ((source, sources), (target, targets)):
            if len(nodes) and (nodes.min() < 0 or nodes.max() >= count):
                raise ValueError(
                    f"pairs name nodes {nodes.min()} to {nodes.max()}, expected 0 to {count - 1}"
                )
        order = np.lexsort((target, source)) if _unsorted(source, target) else slice(None)
        src, dst = source[order], target[order]
        sides = Side(*_rows(src, dst, sources)), Side(*_rows(dst, src, targets))
        if time is None:
            return cls(*sides)
        when = time[order]
        early = np.argsort(when, kind="stable")
        src, dst, when = src[early], dst[early], when[early]
        # Sorting by source is stable: its inverse leads from the order of time to the rows.
        indices = np.empty(len(src), np.int64)
        indices[np.argsort(src, kind="stable")] = np.arange(len(src))
        timed = _timed(src, dst, when, sources), _timed(dst, src, when, targets)
        return cls(*sides, *timed, indices)


SIDES = ("by_source", "by_target", "early_by_source", "early_by_target")
PARTS = ("start", "other", "time")


@dataclass(frozen=True)
class Structure:
    """Who is linked to whom; what a sampler needs of a graph.

    Args:
        from_start: How many nodes of each type, the first ones, need no edge to be known.
        latest: When the latest event was, in seconds; None if times were not kept.
    """

    schema: GraphSchema
    num_nodes: Mapping[str, int]
    links: Mapping[EdgeKey, Links]
    from_start: Mapping[str, int]
    latest: int | None = None

    @classmethod
    def of(cls, graph: Graph, *, timed: bool = False) -> "Structure":
        """The distinct pairs of a graph.

        Args:
            timed: Whether the times of the first events are kept.
        """
        nodes, links = graph.num_nodes, {}
        for edge in graph.schema.edges:
            pairs = graph.pairs(edge.key)
            time = first_times(graph, edge.key) if timed else None
            links[edge.key] = Links.of(
                pairs.src, pairs.dst, nodes[edge.source], nodes[edge.target], time
            )
        from_start = {name: graph.known_from_start(name) for name in nodes}
        return cls(graph.schema, nodes, links, from_start, graph.latest() if timed else None)

    def incoming(self, message: MessageType, *, early: bool = False) -> Side:
        """In-edges of a message type by its targets.

        Args:
            early: With their first times, if they have any.
        """
        links = self.links[message.edge_key]
        timed = links.early_by_source if message.reverse else links.early_by_target
        if early and timed is not None:
            return timed
        return links.by_source if message.reverse else links.by_target

    def known_nodes(self, node_type: str) -> Array:
        """Nodes of a type that are there already, ascending; see ``Graph.known_nodes``."""
        known = np.arange(self.num_nodes[node_type]) < self.from_start[node_type]
        for (source, _, target), links in self.links.items():
            for name, side in ((source, links.by_source), (target, links.by_target)):
                if name == node_type:
                    known |= np.diff(side.start) > 0
        return np.flatnonzero(known)

    def save(self, folder: Path) -> None:
        """Write arrays that ``open`` maps into memory."""
        folder.mkdir(parents=True, exist_ok=True)
        for position, links in enumerate(self.links.values()):
            for name in SIDES:
                side = getattr(links, name)
                for part in PARTS if side is not None else ():
                    np.save(folder / f"{position}.{name}.{part}.npy", getattr(side, part))
            if links.order is not None:
                np.save(folder / f"{position}.order.npy", links.order)
        about = {"format": FORMAT, "schema": self.schema.to_dict(), "nodes": dict(self.num_nodes)}
        about |= {"from_start": dict(self.from_start), "latest": self.latest}
        (folder / "structure.json").write_text(json.dumps(about, indent=2))

    @classmethod
    def open(cls, folder: Path) -> "Structure":
        """Map what ``save`` wrote: read as it is needed, shared by all processes.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if the folder was written in another format.
        """
        about = json.loads((folder / "structure.json").read_text())
        if about.get("format") != FORMAT:
            raise ValueError(f"{folder} has format {about.get('format')!r}, expected {FORMAT}")
        schema = GraphSchema.from_dict(about["schema"])
        links = {}
        for position, edge in enumerate(schema.edges):
            timed = (folder / f"{position}.order.npy").exists()
            sides = {
                name: Side(*(mapped(folder / f"{position}.{name}.{part}.npy") for part in PARTS))
                for name in (SIDES if timed else SIDES[:2])
            }
            links[edge.key] = Links(sides["by_source"], sides["by_target"])
            if timed:
                early = sides["early_by_source"], sides["early_by_target"]
                order = mapped(folder / f"{position}.order.npy")
                links[edge.key] = replace(
                    links[edge.key],
                    early_by_source=early[0], early_by_target=early[1], order=order,
                )  # fmt: skip
        return cls(schema, about["nodes"], links, about["from_start"], about.get("latest"))


def mapped(path: Path) -> Array:
    """An array in a file; pages are read when they are touched and stay as they are on disk."""
    # Copy on write: compiled code takes it for an array like any other.
    small = path.stat().st_size < SMALL
    array: Array = np.load(path, mmap_mode=None if small else "c", allow_pickle=False)
    return array.view(np.ndarray)


def first_times(graph: Graph, key: EdgeKey) -> npt.NDArray[np.int64] | None:
    """Time of the first event of each distinct pair; None where the type has no times.

    At time t a pair is there if one of its events was before t. Events of unknown time are older
    than everything.
    """
    edges, pairs = graph.edges[key], graph.pairs(key)
    if edges.time is None:
        return None
    width = max(graph.num_nodes[key[2]], 1)
    first = np.full(len(pairs), np.iinfo(np.int64).max, np.int64)
    index = np.searchsorted(pairs.src * width + pairs.dst, edges.src * width + edges.dst)
    np.minimum.at(first, index, edges.time)
    return first


def _unsorted(source: Array, target: Array) -> bool:
    step = np.diff(source)
    return bool(((step < 0) | ((step == 0) & (np.diff(target) < 0))).any())


def _timed(node: Array, other: Array, time: Array, size: int) -> Side:
    start, ordered = _rows(node, other, size)
    # A stable sort by node keeps the order of time in each row.
    return Side(start, ordered, time[np.argsort(node, kind="stable")])


@kernel
def _rows(node: Array, other: Array, size: int) -> tuple[Array, Array]:
    start = np.zeros(size + 1, np.int64)
    for v in node:
        start[v + 1] += 1
    for v in range(size):
        start[v + 1] += start[v]
    offset = start[:-1].copy()
    ordered = np.empty(len(other), np.int32)
    for e in range(len(node)):
        ordered[offset[node[e]]] = other[e]
        offset[node[e]] += 1
    return start, ordered
