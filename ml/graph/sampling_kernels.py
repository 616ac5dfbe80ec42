"""What a sampler and its callers do with compressed sparse rows, compiled."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ml.compute.compiling import kernel
from ml.compute.hashing import fold_of, join, permuted
from ml.compute.searching import lower_bound

Array = npt.NDArray[Any]


@kernel
def sample_edges(
    low: int, high: int, targets: Array, start: Array, other: Array, time: Array, before: int,
    backwards: bool, part: int, folds: int, fold_key: np.uint64, sampling_key: np.uint64,
    fanout: int, offset: Array, neighbour: Array, count: Array, first_time: Array,
) -> None:  # fmt: skip
    """Draw at most ``fanout`` in-edges of each of ``targets[low:high]`` without replacement.

    Args:
        time: When each edge was there first, ascending in each row; empty: always.
        backwards: Whether the row's nodes are the sources of the pairs.
        part: Pairs of this fold are no edges; -1: all are.
        offset: Where in ``neighbour`` each target's edges go; there is room for them. Shape: [T].
        neighbour: Other ends, ascending where those of the row are.
        count: How many were drawn. Shape: [T].
        first_time: Room beside ``neighbour`` for the times of the edges; empty: they are left out.
    """
    for t in range(low, high):
        v = np.int64(targets[t])
        a, b = start[v], start[v + 1]
        if len(time):
            b = lower_bound(time, a, b, before)
        degree, at, end = b - a, offset[t], offset[t]
        key = join(sampling_key, v)
        for i in range(degree):
            e = a + (i if degree <= fanout else permuted(i, degree, key))
            u = np.int64(other[e])
            if part >= 0:
                s, d = (v, u) if backwards else (u, v)
                if fold_of(s, d, folds, fold_key) == part:
                    continue
            j = end
            if degree > fanout:
                # the order of the row, so that memory is read in order
                while j > at and neighbour[j - 1] > u:
                    neighbour[j] = neighbour[j - 1]
                    if len(first_time):
                        first_time[j] = first_time[j - 1]
                    j -= 1
            neighbour[j] = u
            if len(first_time):
                first_time[j] = time[e]
            end += 1
            if end - at == fanout:
                break
        count[t] = end - at


@kernel
def count_edges(
    low: int, high: int, targets: Array, start: Array, other: Array, time: Array, before: int,
    backwards: bool, part: int, folds: int, fold_key: np.uint64, exact: int, count: Array,
) -> None:  # fmt: skip
    """In-edges of each of ``targets[low:high]`` before any cap.

    Args:
        exact: Nodes with more edges get the number that is expected of the folds.
        count: Shape: [T].
    """
    for t in range(low, high):
        v = np.int64(targets[t])
        a, b = start[v], start[v + 1]
        if len(time):
            b = lower_bound(time, a, b, before)
        if part < 0:
            count[t] = b - a
        elif b - a > exact:
            count[t] = (b - a) * (folds - 1) / folds
        else:
            n = 0
            for e in range(a, b):
                u = np.int64(other[e])
                s, d = (v, u) if backwards else (u, v)
                n += fold_of(s, d, folds, fold_key) != part
            count[t] = n


@kernel
def pairs_at(start: Array, other: Array, indices: Array) -> tuple[Array, Array]:
    """Ends of the pairs at some indices of compressed sparse rows: the row's node, the other."""
    node, end = np.empty(len(indices), np.int64), np.empty(len(indices), np.int64)
    for i in range(len(indices)):
        a, b = 0, len(start) - 1
        while b - a > 1:
            middle = (a + b) // 2
            if start[middle] <= indices[i]:
                a = middle
            else:
                b = middle
        node[i], end[i] = a, other[indices[i]]
    return node, end


@kernel
def mark_neighbours(
    low: int, high: int, nodes: Array, start: Array, other: Array, candidates: Array, mask: Array
) -> None:
    """Set ``mask[i, c]`` where ``candidates[c]`` is a neighbour of ``nodes[i]``.

    The candidates are ascending, and so are the neighbours of a node.

    Of neighbours and candidates the fewer are looked up among the others.
    """
    size = len(candidates)
    for i in range(low, high):
        a, b = start[nodes[i]], start[nodes[i] + 1]
        if b - a <= size:
            c = 0
            for e in range(a, b):
                c += np.searchsorted(candidates[c:], other[e])
                if c == size:
                    break
                if candidates[c] == other[e]:
                    mask[i, c] = True
        else:
            row = other[a:b]
            e = 0
            for c in range(size):
                e += np.searchsorted(row[e:], candidates[c])
                if e == len(row):
                    break
                if row[e] == candidates[c]:
                    mask[i, c] = True


@kernel
def new_nodes(nodes: Array, local: Array, new: Array) -> int:
    """Those of ``nodes`` that have no local number yet; marks them with -2.

    Args:
        local: Number of each node; -1 for none.
        new: Room for the result, in the order in which they occur first.

    Returns:
        How many there are.
    """
    n = 0
    for i in range(len(nodes)):
        if local[nodes[i]] == -1:
            local[nodes[i]] = -2
            new[n] = nodes[i]
            n += 1
    return n


@kernel
def drop_slots(
    low: int, high: int, nodes: Array, share: float, key: np.uint64, slots: Array
) -> None:
    """Set a share of ``slots`` to 0, the unknown; by node and column. Shape of slots: [n, c]."""
    bound = np.int64(share * 2.0**32)
    for i in range(low, high):
        inner = join(key, nodes[i])
        for c in range(slots.shape[1]):
            if np.int64(join(inner, c) >> np.uint64(32)) < bound:
                slots[i, c] = 0
