"""One cut in time for all edge types, or a random one per user where the data has no time.

The latest 15 % of the events are the test part, the 15 % before them the validation part. An edge
after the cut is no message in either direction, and counts for nothing that is learned before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.contracts.schema import EdgeKey
from ml.graph.graph import Edges, Graph

BY_TIME = "time 70/15/15"
AT_RANDOM = "random per user 70/15/15"


@dataclass(frozen=True)
class Split:
    """The three parts of a graph's events.

    Args:
        train: Graph with the events that models learn from.
        observed: Graph with the train and validation events: what is known at the test cut.
        validation: Held-out events by edge type, for what is fitted on top of a trained model.
        test: Held-out events by edge type, for what is reported.
        method: How each edge type was split: ``BY_TIME`` or ``AT_RANDOM``.
        cuts: Seconds of the two cuts (validation begins, test begins); None in untimed data.
    """

    train: Graph
    observed: Graph
    validation: Mapping[EdgeKey, Edges]
    test: Mapping[EdgeKey, Edges]
    method: Mapping[EdgeKey, str]
    cuts: tuple[int, int] | None


def split_graph(
    graph: Graph, *, validation: float = 0.15, test: float = 0.15, seed: int = 0
) -> Split:
    """Cut a graph's events into train, validation and test.

    Args:
        validation: Share of the events between the cuts.
        test: Share of the events after the last cut.
        seed: For edge types without times, whose distinct pairs are drawn for each source.

    Raises:
        ValueError: if the shares leave nothing to train on.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise ValueError(f"shares are {validation} and {test}, expected a sum below 1")
    cuts = _cuts(graph, validation, test)
    generator = np.random.default_rng(seed)
    train, observed, held_validation, held_test, method = {}, {}, {}, {}, {}
    for key, edges in graph.edges.items():
        if edges.time is not None and cuts is not None:
            part = np.digitize(edges.time, cuts)
            method[key] = BY_TIME
        else:
            part = _random_parts(edges, graph.num_nodes[key[2]], validation, test, generator)
            method[key] = AT_RANDOM
        train[key], observed[key] = edges.take(part == 0), edges.take(part < 2)
        held_validation[key], held_test[key] = edges.take(part == 1), edges.take(part == 2)
    return Split(
        train=graph.with_edges(train), observed=graph.with_edges(observed),
        validation=held_validation, test=held_test, method=method, cuts=cuts,
    )  # fmt: skip


def before(graph: Graph, cut: int) -> Graph:
    """The graph as it was known at ``cut`` (seconds); events without a time stay."""
    return graph.with_edges(
        {
            key: edges if edges.time is None else edges.take(edges.time < cut)
            for key, edges in graph.edges.items()
        }
    )


def with_added(split: Split, added: Mapping[EdgeKey, Edges]) -> Graph:
    """The train part together with events that ``ml.optimizing`` made: what a network learns from.

    The split itself is made without them, so that the cuts and the held-out parts are those of the
    real events. Whatever ``added`` has, no event after the first cut and no pair that is held out
    becomes part of the graph.

    Args:
        added: With the indices of the split's graph (``Graph.edges_of``).
    """
    edges = dict(split.train.edges)
    for key, more in added.items():
        allowed = _not_held_out(split, key, more)
        if split.cuts is not None and more.time is not None:
            allowed &= more.time < split.cuts[0]
        more = more.take(allowed)
        if len(more):
            timed = edges[key].time is not None
            edges[key] = edges[key].join(more if timed else Edges(more.src, more.dst))
    return split.train.with_edges(edges)


def _not_held_out(split: Split, key: EdgeKey, edges: Edges) -> npt.NDArray[np.bool_]:
    targets = max(split.train.num_nodes[key[2]], 1)
    held = [part[key].src * targets + part[key].dst for part in (split.validation, split.test)]
    return ~np.isin(edges.src * targets + edges.dst, np.concatenate(held))


def _cuts(graph: Graph, validation: float, test: float) -> tuple[int, int] | None:
    times = [edges.time for edges in graph.edges.values() if edges.time is not None]
    if not times:
        return None
    ordered = np.sort(np.concatenate(times))
    first = int(ordered[min(int(len(ordered) * (1 - validation - test)), len(ordered) - 1)])
    second = int(ordered[min(int(len(ordered) * (1 - test)), len(ordered) - 1)])
    return None if first == ordered[0] else (first, second)


def _random_parts(
    edges: Edges, num_targets: int, validation: float, test: float, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Part of each event: all events of a pair go together, shares hold for each source."""
    pair = edges.src * max(num_targets, 1) + edges.dst
    unique, inverse = np.unique(pair, return_inverse=True)
    source = unique // max(num_targets, 1)
    order = np.lexsort((generator.random(len(unique)), source))
    sizes = np.unique(source, return_counts=True)[1]
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    size = np.repeat(sizes, sizes)
    # A random start for each source keeps the shares right where a source has few pairs.
    shift = np.repeat(generator.random(len(sizes)), sizes)
    place = ((np.arange(len(unique)) - starts + shift) / size) % 1.0
    part = np.empty(len(unique), np.int64)
    part[order] = np.where(place < test, 2, np.where(place < test + validation, 1, 0))
    return part[inverse]
