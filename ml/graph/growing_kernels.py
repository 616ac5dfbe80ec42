"""Compiled loops over a sorted base of edges and the linked lists beside it.

``start``, ``other``, ``head``, ``link`` and ``far`` are those of ``ml.graph.growing.End``.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ml.compute.compiling import kernel
from ml.compute.searching import lower_bound

Array = npt.NDArray[Any]


@kernel
def has_edge(
    u: Any,
    v: Any,
    start: Array,
    other: Array,
    source_head: Array,
    target_head: Array,
    source_link: Array,
    target_link: Array,
    delta_source: Array,
    delta_target: Array,
) -> bool:
    """Whether the edge from ``u`` to ``v`` is in the base or the delta.

    Args:
        start, other: Base edges by source, their targets ascending.
    """
    if u < len(start) - 1:
        index = lower_bound(other, start[u], start[u + 1], v)
        if index < start[u + 1] and other[index] == v:
            return True
    # Whichever list ends first says it: one end may be a hub, seldom both.
    a, b = source_head[u], target_head[v]
    while a >= 0 and b >= 0:
        if delta_target[a] == v or delta_source[b] == u:
            return True
        a, b = source_link[a], target_link[b]
    return False


@kernel
def contains(
    source: Array,
    target: Array,
    start: Array,
    other: Array,
    source_head: Array,
    target_head: Array,
    source_link: Array,
    target_link: Array,
    delta_source: Array,
    delta_target: Array,
) -> Array:
    """Which edges are in the base or the delta. Shape: [E]."""
    inside = np.empty(len(source), np.bool_)
    for i in range(len(source)):
        inside[i] = has_edge(
            source[i], target[i], start, other, source_head, target_head, source_link,
            target_link, delta_source, delta_target,
        )  # fmt: skip
    return inside


@kernel
def insert(
    source: Array,
    target: Array,
    size: int,
    start: Array,
    other: Array,
    source_head: Array,
    target_head: Array,
    source_link: Array,
    target_link: Array,
    delta_source: Array,
    delta_target: Array,
) -> Array:
    """Append edges that are neither in the base nor in the delta, which has ``size``.

    Args:
        start, other: Base edges by source, their targets ascending.

    Returns:
        Which edges were new. Shape: [E].
    """
    new = np.zeros(len(source), np.bool_)
    for i in range(len(source)):
        u, v = source[i], target[i]
        if not has_edge(
            u, v, start, other, source_head, target_head, source_link, target_link, delta_source,
            delta_target,
        ):  # fmt: skip
            new[i] = True
            delta_source[size], delta_target[size] = u, v
            source_link[size], target_link[size] = source_head[u], target_head[v]
            source_head[u] = target_head[v] = size
            size += 1
    return new


@kernel
def gather(
    nodes: Array, start: Array, other: Array, head: Array, link: Array, far: Array
) -> tuple[Array, Array, Array]:
    """Edges of some nodes, those without left out.

    Returns:
        Which of ``nodes`` have edges [R], where each one's begin [R + 1], the far ends [E].
    """
    index = np.empty(len(nodes), np.int32)
    bounds = np.zeros(len(nodes) + 1, np.int64)
    rows = 0
    for i in range(len(nodes)):
        v = nodes[i]
        count = start[v + 1] - start[v] if v < len(start) - 1 else 0
        edge = head[v]
        while edge >= 0:
            count += 1
            edge = link[edge]
        if count:
            index[rows] = i
            bounds[rows + 1] = bounds[rows] + count
            rows += 1
    ends = np.empty(bounds[rows], np.int32)
    for row in range(rows):
        v = nodes[index[row]]
        at = bounds[row]
        if v < len(start) - 1:
            for e in range(start[v], start[v + 1]):
                ends[at] = other[e]
                at += 1
        edge = head[v]
        while edge >= 0:
            ends[at] = far[edge]
            at += 1
            edge = link[edge]
    return index[:rows].copy(), bounds[: rows + 1].copy(), ends


@kernel
def spread(
    nodes: Array,
    weight: Array,
    start: Array,
    other: Array,
    head: Array,
    link: Array,
    far: Array,
    total: Array,
) -> int:
    """Add ``weight[i]`` to ``total`` of every far end of ``nodes[i]``; gives the edges followed."""
    count = 0
    for i in range(len(nodes)):
        v = nodes[i]
        if v < len(start) - 1:
            count += start[v + 1] - start[v]
            for e in range(start[v], start[v + 1]):
                total[other[e]] += weight[i]
        edge = head[v]
        while edge >= 0:
            total[far[edge]] += weight[i]
            count += 1
            edge = link[edge]
    return count
