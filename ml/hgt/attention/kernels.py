"""Attention over edges, compiled for a number of heads and a width.

The arrays are flat and float32. ``table`` has a row [k, v] for each source; a *packed* row of a
target is [q, gradient of its output, log-sum-exp, inner product of output and gradient], what its
edges need in the backward pass. Scores are made in blocks of edges, and each block is merged into
the maximum, sum and accumulator of its target as in flash attention.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from ml.compute.compiling import kernel
from ml.compute.simd import (
    AHEAD,
    BLOCK,
    REVISION,
    add_four,
    add_scaled,
    copy,
    dot,
    exponential,
    exponentials,
    fill,
    inline,
    largest,
    prefetch,
    scale,
    weigh,
)
from ml.hgt.attention.partials import LOWEST

Ints: TypeAlias = Any
Floats: TypeAlias = Any


@dataclass(frozen=True)
class Kernels:
    """Functions over the rows [r0, r1) of edges grouped by a node, see ``compiled``."""

    attend: Any
    grad_target: Any
    grad_source: Any


def packed_width(heads: int, width: int) -> int:
    """Columns of a packed row."""
    return 2 * heads * width + 2 * heads


@inline
def apply_per_head(H: int, D: int, out: Floats, o: int, x: Floats, i: int, matrix: Floats) -> None:
    """out[o :] = x[i :] times a [D, D] matrix for each head."""
    for h in range(H):
        fill(out, o + h * D, np.float32(0), D)
        for d in range(D):
            add_scaled(out, o + h * D, x[i + h * D + d], matrix, (h * D + d) * D, D)


@inline
def add_outer(H: int, D: int, out: Floats, at: int, x: Floats, i: int, y: Floats, j: int) -> None:
    """out[h] += outer product of x and y for each head."""
    for h in range(H):
        for d in range(D):
            add_scaled(out, at + (h * D + d) * D, x[i + h * D + d], y, j + h * D, D)


@inline
def gather(
    H: int,
    D: int,
    out: Floats,
    p: Floats,
    table: Floats,
    other: Ints,
    e: int,
    n: int,
    stride: int,
    column: int,
) -> None:
    """out[h] += Σ_i p[h, i] · table[other[e + i], column + h] over a block of edges."""
    i = 0
    while i + 4 <= n:
        j0 = int(other[e + i]) * stride + column
        j1 = int(other[e + i + 1]) * stride + column
        j2 = int(other[e + i + 2]) * stride + column
        j3 = int(other[e + i + 3]) * stride + column
        for h in range(H):
            c = h * D
            add_four(out, c, p, h * BLOCK + i, table, j0 + c, j1 + c, j2 + c, j3 + c, D)
        i += 4
    while i < n:
        j = int(other[e + i]) * stride + column
        for h in range(H):
            add_scaled(out, h * D, p[h * BLOCK + i], table, j + h * D, D)
        i += 1


@cache
def compiled(heads: int, width: int) -> Kernels:
    """The kernels for ``heads`` heads of ``width`` columns; the machine code is kept on disk."""
    H, D = heads, width
    HD, KV, BH, DD = H * D, 2 * H * D, BLOCK * H, H * D * D
    revision = REVISION
    P = packed_width(H, D)

    @kernel
    def attend(
        r0: int,
        r1: int,
        index: Ints,
        start: Ints,
        other: Ints,
        q: Floats,
        table: Floats,
        mapped: bool,
        a_q: Floats,
        a_v: Floats,
        highest: Floats,
        sums: Floats,
        acc: Floats,
    ) -> None:
        """Merge the messages of one relation into (highest, sums, acc) of its targets."""
        assert revision
        s = np.empty(BH, np.float32)
        top, total = np.empty(H, np.float32), np.empty(H, np.float32)
        own, query = np.empty(HD, np.float32), np.empty(HD, np.float32)
        turned = np.empty(HD, np.float32)
        last = int(start[r1]) - 1
        for r in range(r0, r1):
            t = int(index[r])
            if mapped:
                apply_per_head(H, D, query, 0, q, t * HD, a_q)
            else:
                for h in range(H):
                    copy(query, h * D, q, t * HD + h * D, D)
            for h in range(H):
                top[h], total[h] = np.float32(LOWEST), np.float32(0)
                fill(own, h * D, np.float32(0), D)
            e, end = int(start[r]), int(start[r + 1])
            while e < end:
                n = min(BLOCK, end - e)
                if n < BLOCK:
                    for h in range(H):
                        fill(s, h * BLOCK, np.float32(LOWEST), BLOCK)
                for i in range(n):
                    prefetch(table, int(other[min(e + i + AHEAD, last)]) * KV, KV)
                    j = int(other[e + i]) * KV
                    for h in range(H):
                        s[h * BLOCK + i] = dot(query, h * D, table, j + h * D, D)
                for h in range(H):
                    new = max(top[h], largest(s, h * BLOCK, BLOCK))
                    shrink = exponential(top[h] - new)
                    total[h] = total[h] * shrink + exponentials(s, h * BLOCK, new, BLOCK)
                    top[h] = new
                    scale(own, h * D, shrink, D)
                gather(H, D, own, s, table, other, e, n, KV, HD)
                e += n
            if mapped:
                apply_per_head(H, D, turned, 0, own, 0, a_v)
            else:
                for h in range(H):
                    copy(turned, h * D, own, h * D, D)
            for h in range(H):
                before = highest[t * H + h]
                new = max(before, top[h])
                old_share, new_share = exponential(before - new), exponential(top[h] - new)
                sums[t * H + h] = sums[t * H + h] * old_share + total[h] * new_share
                highest[t * H + h] = new
                scale(acc, t * HD + h * D, old_share, D)
                add_scaled(acc, t * HD + h * D, new_share, turned, h * D, D)

    @kernel
    def grad_target(
        r0: int,
        r1: int,
        index: Ints,
        start: Ints,
        other: Ints,
        raw: Floats,
        packed: Floats,
        table: Floats,
        mapped: bool,
        a_q: Floats,
        a_k: Floats,
        a_v: Floats,
        dq: Floats,
        da: Floats,
        piece: int,
    ) -> None:
        """Add the gradient of q, and of the maps; writes the mapped rows to ``packed``.

        Where nothing is mapped, ``packed`` is ``raw``. a_v is the transposed map of v here.
        """
        assert revision
        s, g = np.empty(BH, np.float32), np.empty(BH, np.float32)
        own, value = np.empty(HD, np.float32), np.empty(HD, np.float32)
        query, grad = np.empty(HD, np.float32), np.empty(HD, np.float32)
        last = int(start[r1]) - 1
        for r in range(r0, r1):
            t = int(index[r])
            base = t * P
            if mapped:
                for h in range(H):
                    copy(query, h * D, raw, base + h * D, D)
                    copy(grad, h * D, raw, base + HD + h * D, D)
                apply_per_head(H, D, packed, base, query, 0, a_q)
                apply_per_head(H, D, packed, base + HD, grad, 0, a_v)
                for h in range(2 * H):
                    packed[base + KV + h] = raw[base + KV + h]
            for h in range(H):
                fill(own, h * D, np.float32(0), D)
                fill(value, h * D, np.float32(0), D)
            e, end = int(start[r]), int(start[r + 1])
            while e < end:
                n = min(BLOCK, end - e)
                for i in range(n):
                    prefetch(table, int(other[min(e + i + AHEAD, last)]) * KV, KV)
                    j = int(other[e + i]) * KV
                    for h in range(H):
                        c = h * D
                        score = dot(packed, base + c, table, j + c, D)
                        s[h * BLOCK + i] = score - packed[base + KV + h]
                        slope = dot(packed, base + HD + c, table, j + HD + c, D)
                        g[h * BLOCK + i] = slope - packed[base + KV + H + h]
                for h in range(H):
                    weigh(s, g, h * BLOCK, BLOCK)
                gather(H, D, own, g, table, other, e, n, KV, 0)
                if mapped:
                    gather(H, D, value, s, table, other, e, n, KV, HD)
                e += n
            if mapped:
                add_outer(H, D, da, piece * 2 * DD, query, 0, own, 0)
                add_outer(H, D, da, piece * 2 * DD + DD, value, 0, grad, 0)
                apply_per_head(H, D, query, 0, own, 0, a_k)
            for h in range(H):
                if mapped:
                    add_scaled(dq, t * HD + h * D, np.float32(1), query, h * D, D)
                else:
                    add_scaled(dq, t * HD + h * D, np.float32(1), own, h * D, D)

    @kernel
    def grad_source(
        r0: int,
        r1: int,
        index: Ints,
        start: Ints,
        other: Ints,
        packed: Floats,
        table: Floats,
        dtable: Floats,
    ) -> None:
        """Add the gradient of the sources' [k, v]; ``other`` are targets."""
        assert revision
        s, g = np.empty(BH, np.float32), np.empty(BH, np.float32)
        own, value = np.empty(HD, np.float32), np.empty(HD, np.float32)
        last = int(start[r1]) - 1
        for r in range(r0, r1):
            base = int(index[r]) * KV
            for h in range(H):
                fill(own, h * D, np.float32(0), D)
                fill(value, h * D, np.float32(0), D)
            e, end = int(start[r]), int(start[r + 1])
            while e < end:
                n = min(BLOCK, end - e)
                for i in range(n):
                    prefetch(packed, int(other[min(e + i + AHEAD, last)]) * P, P)
                    j = int(other[e + i]) * P
                    for h in range(H):
                        c = h * D
                        score = dot(table, base + c, packed, j + c, D)
                        s[h * BLOCK + i] = score - packed[j + KV + h]
                        slope = dot(table, base + HD + c, packed, j + HD + c, D)
                        g[h * BLOCK + i] = slope - packed[j + KV + H + h]
                for h in range(H):
                    weigh(s, g, h * BLOCK, BLOCK)
                gather(H, D, own, g, packed, other, e, n, P, 0)
                gather(H, D, value, s, packed, other, e, n, P, HD)
                e += n
            for h in range(H):
                add_scaled(dtable, base + h * D, np.float32(1), own, h * D, D)
                add_scaled(dtable, base + HD + h * D, np.float32(1), value, h * D, D)

    return Kernels(attend, grad_target, grad_source)
