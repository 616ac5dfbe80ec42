"""Attention of a few targets straight on the states of their sources, compiled.

With the maps of keys and values moved to the target's side nothing is computed for a source but
inner products: for a few rows with tens of edges, or one with ten thousand, that is less work than
making the keys and values of their sources. A query and an accumulator have a row of the states'
width for each head, and one more column: the score's constant, and the sum of the weights.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ml.compute.compiling import kernel
from ml.compute.simd import (
    AHEAD,
    BLOCK,
    REVISION,
    add_four,
    add_scaled,
    dot,
    exponential,
    exponentials,
    fill,
    largest,
    prefetch,
    scale,
)
from ml.hgt.attention.kernels import Floats, Ints
from ml.hgt.attention.partials import LOWEST


@dataclass(frozen=True)
class RowKernels:
    """``attend`` one relation into its own slots, then ``combine`` the relations of each row."""

    attend: Any
    combine: Any


@cache
def row_kernels(heads: int, hidden: int) -> RowKernels:
    """The kernels for ``heads`` heads over states of ``hidden`` columns.

    Queries and accumulators are [H, rows, relations, hidden + 1], tops [H, rows, relations].
    """
    H, W, S, BH = heads, hidden, hidden + 1, BLOCK * heads
    revision = REVISION

    @kernel
    def attend(
        r0: int,
        r1: int,
        index: Ints,
        start: Ints,
        other: Ints,
        query: Floats,
        states: Floats,
        top: Floats,
        acc: Floats,
        rows: int,
        slots: int,
        slot: int,
    ) -> None:
        assert revision
        s = np.empty(BH, np.float32)
        last = int(start[r1]) - 1
        for r in range(r0, r1):
            t = int(index[r])
            e, end = int(start[r]), int(start[r + 1])
            while e < end:
                n = min(BLOCK, end - e)
                if n < BLOCK:
                    for h in range(H):
                        fill(s, h * BLOCK, np.float32(LOWEST), BLOCK)
                for i in range(n):
                    prefetch(states, int(other[min(e + i + AHEAD, last)]) * W, W)
                    j = int(other[e + i]) * W
                    for h in range(H):
                        at = ((h * rows + t) * slots + slot) * S
                        s[h * BLOCK + i] = dot(query, at, states, j, W) + query[at + W]
                for h in range(H):
                    slot_index = (h * rows + t) * slots + slot
                    new = max(top[slot_index], largest(s, h * BLOCK, BLOCK))
                    shrink = exponential(top[slot_index] - new)
                    total = exponentials(s, h * BLOCK, new, BLOCK)
                    acc[slot_index * S + W] = acc[slot_index * S + W] * shrink + total
                    top[slot_index] = new
                    scale(acc, slot_index * S, shrink, W)
                    i = 0
                    while i + 4 <= n:
                        j0 = int(other[e + i]) * W
                        j1 = int(other[e + i + 1]) * W
                        j2 = int(other[e + i + 2]) * W
                        j3 = int(other[e + i + 3]) * W
                        add_four(acc, slot_index * S, s, h * BLOCK + i, states, j0, j1, j2, j3, W)
                        i += 4
                    while i < n:
                        j = int(other[e + i]) * W
                        add_scaled(acc, slot_index * S, s[h * BLOCK + i], states, j, W)
                        i += 1
                e += n

    @kernel
    def combine(rows: int, slots: int, top: Floats, acc: Floats) -> None:
        assert revision
        for row in range(H * rows):
            first = int(row) * slots
            highest, total = np.float32(LOWEST), np.float32(0)
            for slot in range(slots):
                highest = max(highest, top[first + slot])
            for slot in range(slots):
                slot_index = first + slot
                top[slot_index] = exponential(top[slot_index] - highest)
                total += top[slot_index] * acc[slot_index * S + W]
            if total > 0:
                for slot in range(slots):
                    slot_index = first + slot
                    factor = top[slot_index] / total
                    scale(acc, slot_index * S, factor, W)
                    acc[slot_index * S + W] *= factor

    return RowKernels(attend, combine)
