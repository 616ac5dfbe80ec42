"""Add events for sources that have few, drawn from what similar sources had.

Only the train part is learned from and added to. Pairs of the held-out parts are never added, so
that what is asked afterwards is neither known nor easier than before; nor is anything added in
their place, which would tell by what is missing.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ml.data.frames import EVENT_COLUMNS, Tables
from ml.graph.graph import UNKNOWN_TIME, Edges, Graph, Ints
from ml.graph.splits import Split
from ml.optimizing.actions import Augment
from ml.optimizing.added import PREFIX, next_number, separate
from ml.optimizing.similarity import chunks, cosine, incidence, nearest

Mask = npt.NDArray[np.bool_]


def augment(
    tables: Tables, split: Split, action: Augment, generator: np.random.Generator
) -> pl.DataFrame:
    """Events to add, with the columns of ``EVENT_COLUMNS`` and ids ``augmented-<n>``.

    A new target is drawn with a chance in proportion to the sum of its cosine similarities to the
    targets that the source has (item-kNN), among the nearest of each; its time is that of a random
    event at this target in the train part.

    Args:
        tables: What the events are added to; both ends of each are nodes of it.
        split: Of the graph that will be trained on, without events that were added.
    """
    graph, key = split.train, action.edge.key
    pairs, nodes = graph.pairs(key), graph.num_nodes
    sources, targets = nodes[key[0]], nodes[key[2]]
    size = np.bincount(pairs.src, minlength=sources)
    least, most = action.sources
    few = (size >= least) & (size <= most) & _in_tables(graph, tables, key[0])
    owned = incidence(pairs, sources, targets)
    similar = nearest(cosine(pairs, sources, targets, generator))
    excluded, held_out = _excluded(tables, split, action), _held_out(split, action)
    allowed = _in_tables(graph, tables, key[2])
    chosen = []
    for part in chunks(np.flatnonzero(few), owned, similar):
        scores = (owned[part] @ similar).tocoo()
        src, dst, score = part[scores.row], scores.col.astype(np.int64), scores.data
        free = allowed[dst] & (score > 0) & ~np.isin(src * targets + dst, excluded)
        if key[0] == key[2]:
            free &= src != dst
        src, dst = _draw(src[free], dst[free], score[free], wanted(size, action), generator)
        shown = ~np.isin(src * targets + dst, held_out)
        chosen.append((src[shown], dst[shown]))
    src = np.concatenate([np.empty(0, np.int64), *[one[0] for one in chosen]])
    dst = np.concatenate([np.empty(0, np.int64), *[one[1] for one in chosen]])
    time = _times(graph.edges[key], dst, generator)
    return _events(graph, action, src, dst, time, next_number(tables.events))


def wanted(size: Ints, action: Augment) -> Ints:
    """How many targets each source should get, by how many it has. Shape: [sources]."""
    most = action.sources[1]
    by_size = [math.ceil(round((action.factor - 1) * k, 9)) for k in range(most + 1)]
    return np.array(by_size, np.int64)[np.minimum(size, most)]


def _in_tables(graph: Graph, tables: Tables, node: str) -> Mask:
    """Which nodes of the graph the tables have: those that the event log alone knows are not."""
    ids = pl.Series(graph.node_ids[node], dtype=pl.String)
    known = tables.nodes(node)[tables.schema.node(node).id_column]
    return ids.is_in(known.implode()).to_numpy()


def _excluded(tables: Tables, split: Split, action: Augment) -> Ints:
    """Codes of the pairs that are there: known, or added already."""
    key = action.edge.key
    targets = split.train.num_nodes[key[2]]
    made = split.train.edges_of(separate(tables)[1])[key]
    return _codes((split.train.edges[key], made), targets)


def _held_out(split: Split, action: Augment) -> Ints:
    key = action.edge.key
    return _codes((split.validation[key], split.test[key]), split.train.num_nodes[key[2]])


def _codes(parts: Sequence[Edges], targets: int) -> Ints:
    return np.unique(np.concatenate([edges.src * targets + edges.dst for edges in parts]))


def _draw(
    src: Ints,
    dst: Ints,
    score: npt.NDArray[np.float32],
    wanted: Ints,
    generator: np.random.Generator,
) -> tuple[Ints, Ints]:
    """For each source as many targets as wanted, without repeats, in proportion to the score."""
    order = np.lexsort((dst, src))
    src, dst, score = src[order], dst[order], score[order]
    # The largest of log(score) + Gumbel noise are a draw without replacement.
    rank = np.log(score.astype(np.float64)) + generator.gumbel(size=len(score))
    order = np.lexsort((-rank, src))
    src, dst = src[order], dst[order]
    position = np.arange(len(src)) - np.searchsorted(src, src)
    kept = position < wanted[src]
    return src[kept], dst[kept]


def _times(edges: Edges, dst: Ints, generator: np.random.Generator) -> Ints | None:
    """The time of a random event at each target; every target has one. Shape: [A]."""
    if edges.time is None:
        return None
    order = np.argsort(edges.dst, kind="stable")
    at = edges.dst[order]
    start, stop = np.searchsorted(at, dst), np.searchsorted(at, dst, side="right")
    row = start + (generator.random(len(dst)) * (stop - start)).astype(np.int64)
    return edges.time[order[row]]


def _events(
    graph: Graph, action: Augment, src: Ints, dst: Ints, time: Ints | None, first: int
) -> pl.DataFrame:
    ids = {end: np.array(graph.node_ids[end], dtype=object) for end in action.edge.key[::2]}
    seconds: Any = pl.Series([None] * len(src), dtype=pl.Int64)
    if time is not None:
        known = pl.Series(time)
        seconds = known.to_frame("t").select(
            pl.when(pl.col("t") != int(UNKNOWN_TIME)).then("t")
        ).to_series()  # fmt: skip
    columns = {
        "event_id": pl.Series([f"{PREFIX}{first + n}" for n in range(len(src))], dtype=pl.String),
        "type": pl.repeat(action.edge.event, len(src), eager=True),
        "timestamp": (seconds * 1_000_000).cast(pl.Datetime("us", "UTC")),
        "actor": pl.Series(ids[action.edge.source][src].tolist(), dtype=pl.String),
        "target": pl.Series(ids[action.edge.target][dst].tolist(), dtype=pl.String),
        "target_type": pl.repeat(action.edge.target, len(src), eager=True),
    }
    return pl.DataFrame(columns, schema=dict(EVENT_COLUMNS))
