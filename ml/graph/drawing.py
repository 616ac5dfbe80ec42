"""Draws without a state: every random choice is a hash of what it is about, compiled.

So the draw of a node is the same whichever batch, process or thread asks for it, and nothing has
to be drawn for those that nobody asks for.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ml.compute.compiling import kernel

Array = npt.NDArray[Any]

_1, _30, _27, _31, _32 = (np.uint64(n) for n in (1, 30, 27, 31, 32))
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
ROUNDS = 4


@kernel
def mix(x: np.uint64) -> np.uint64:
    """A well-mixed 64 bit hash (Steele et al., Fast splittable pseudorandom number generators)."""
    x = (x ^ (x >> _30)) * _FIRST
    x = (x ^ (x >> _27)) * _SECOND
    return x ^ (x >> _31)


@kernel
def join(key: np.uint64, value: Any) -> np.uint64:
    """The key of something within what ``key`` stands for."""
    return mix(key + (np.uint64(value) + _1) * _GOLDEN)


@kernel
def below(x: np.uint64, n: Any) -> np.int64:
    """A hash as a number in [0, n), n up to 2^32."""
    return np.int64(((x >> _32) * np.uint64(n)) >> _32)


@kernel
def permuted(i: Any, n: Any, key: np.uint64) -> np.int64:
    """Place of ``i`` in a random order of 0 … n - 1, without making the order.

    A Feistel network over the next power of two, walked until it is back below n (Black and
    Rogaway, Ciphers with arbitrary finite domains), then turned by a random distance.
    """
    if n < 2:
        return np.int64(0)
    bits = 0
    while (np.int64(1) << bits) < n:
        bits += 1
    x = np.uint64(i)
    while True:
        low = np.uint64(bits - bits // 2)
        high = np.uint64(bits // 2)
        for r in range(ROUNDS):
            right = x & ((_1 << low) - _1)
            left = (x >> low) ^ (join(key, right * np.uint64(ROUNDS) + np.uint64(r)) >> _32)
            x = (right << high) | (left & ((_1 << high) - _1))
            low, high = high, low
        if x < np.uint64(n):
            return np.int64((x + mix(key) % np.uint64(n)) % np.uint64(n))


@kernel
def fold_of(source: Any, target: Any, folds: Any, key: np.uint64) -> np.int64:
    """The fold of a pair, whichever end it is looked at from."""
    return below(join(join(key, source), target), folds)


@kernel
def first_not_before(time: Array, low: Any, high: Any, before: Any) -> np.int64:
    """The first place in [low, high) of rising ``time``, or numbers, that is not before ``before``.

    Returns:
        ``high`` if there is none.
    """
    while low < high:
        middle = (low + high) // 2
        if time[middle] < before:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def draw_edges(
    low: int, high: int, targets: Array, start: Array, other: Array, time: Array, before: int,
    backwards: bool, part: int, folds: int, fold_key: np.uint64, draw_key: np.uint64,
    fanout: int, place: Array, found: Array, kept: Array, since: Array,
) -> None:  # fmt: skip
    """Draw at most ``fanout`` in-edges of each of ``targets[low:high]`` without replacement.

    Args:
        time: When each edge was there first, rising in each row; empty: always.
        backwards: Whether the row's nodes are the sources of the pairs.
        part: Pairs of this fold are no edges; -1: all are.
        place: Where in ``found`` each target's edges go; there is room for them. Shape: [T].
        found: Other ends, rising where those of the row do.
        kept: How many were drawn. Shape: [T].
        since: Room beside ``found`` for the times of the edges; empty: they are not told.
    """
    for t in range(low, high):
        v = np.int64(targets[t])
        a, b = start[v], start[v + 1]
        if len(time):
            b = first_not_before(time, a, b, before)
        degree, at, end = b - a, place[t], place[t]
        key = join(draw_key, v)
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
                while j > at and found[j - 1] > u:
                    found[j] = found[j - 1]
                    if len(since):
                        since[j] = since[j - 1]
                    j -= 1
            found[j] = u
            if len(since):
                since[j] = time[e]
            end += 1
            if end - at == fanout:
                break
        kept[t] = end - at


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
            b = first_not_before(time, a, b, before)
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
def first_in_order(time: Array, order: Array, before: Any) -> int:
    """The first place of ``order`` whose time is not before ``before``."""
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if time[order[middle]] < before:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def permuted_all(numbers: Array, n: Any, key: np.uint64) -> Array:
    """``permuted`` for each of ``numbers``."""
    places = np.empty(len(numbers), np.int64)
    for i in range(len(numbers)):
        places[i] = permuted(numbers[i], n, key)
    return places


@kernel
def pick(start: Array, other: Array, places: Array) -> tuple[Array, Array]:
    """Ends of the pairs at some places of compressed sparse rows: the row's node, the other."""
    node, end = np.empty(len(places), np.int64), np.empty(len(places), np.int64)
    for i in range(len(places)):
        a, b = 0, len(start) - 1
        while b - a > 1:
            middle = (a + b) // 2
            if start[middle] <= places[i]:
                a = middle
            else:
                b = middle
        node[i], end[i] = a, other[places[i]]
    return node, end


@kernel
def in_fold(source: Array, target: Array, part: int, folds: int, fold_key: np.uint64) -> Array:
    """Which pairs are of a fold. Shape: [P]."""
    inside = np.empty(len(source), np.bool_)
    for i in range(len(source)):
        inside[i] = fold_of(source[i], target[i], folds, fold_key) == part
    return inside


@kernel
def mark_known(
    low: int, high: int, nodes: Array, start: Array, other: Array, candidates: Array, known: Array
) -> None:
    """Set ``known[i, c]`` where ``candidates[c]`` is a neighbour of ``nodes[i]``; both rise.

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
                    known[i, c] = True
        else:
            row = other[a:b]
            e = 0
            for c in range(size):
                e += np.searchsorted(row[e:], candidates[c])
                if e == len(row):
                    break
                if row[e] == candidates[c]:
                    known[i, c] = True


@kernel
def discover(found: Array, local: Array, new: Array) -> int:
    """Nodes among ``found`` that have no local number yet; marks them with -2.

    Args:
        local: Number of each node; -1 for none.
        new: Room for the result, in the order of their first finding.

    Returns:
        How many there are.
    """
    n = 0
    for i in range(len(found)):
        if local[found[i]] == -1:
            local[found[i]] = -2
            new[n] = found[i]
            n += 1
    return n


@kernel
def forget(low: int, high: int, nodes: Array, share: float, key: np.uint64, slots: Array) -> None:
    """Set a share of ``slots`` to 0, the unknown; by node and column. Shape of slots: [n, c]."""
    bound = np.int64(share * 2.0**32)
    for i in range(low, high):
        inner = join(key, nodes[i])
        for c in range(slots.shape[1]):
            if np.int64(join(inner, c) >> _32) < bound:
                slots[i, c] = 0
