"""The torch backend of attention: any device and type, in chunks of edges that fit the cache."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ml.graph.adjacency import SparseRows
from ml.hgt.attention.partials import PartialSoftmax, RelationMaps, apply_per_head

CHUNK = {"cpu": 8_192, "cuda": 2_097_152}
"""Edges handled at once, by device."""


def attend(
    rows: SparseRows, q: Tensor, table: Tensor, maps: RelationMaps | None, softmax: PartialSoftmax
) -> None:
    """See ``ml.hgt.attention.partials.Backend``."""
    heads, width = softmax.heads_width
    index = rows.index.long()
    q = q.index_select(0, index)
    if maps is not None:
        q = apply_per_head(q, maps.k.mT)
    part = PartialSoftmax.empty(len(rows), heads, q)
    for first, last, r, j in _chunks(rows):
        k, v = table.index_select(0, j).view(-1, 2, heads, width).unbind(1)
        own = q[first:last].index_select(0, r).view(-1, heads, width)
        score = (own * k).sum(2)
        before = part.top[first:last].clone()
        top = before.scatter_reduce(0, r[:, None].expand_as(score), score, "amax")
        shrink = (before - top).exp()
        p = (score - top.index_select(0, r)).exp()
        part.top[first:last] = top
        part.total[first:last].mul_(shrink).index_add_(0, r, p)
        acc = part.acc[first:last]
        acc.view(-1, heads, width).mul_(shrink[:, :, None])
        acc.index_add_(0, r, (p[:, :, None] * v).flatten(1))
    if maps is not None:
        part.acc.copy_(apply_per_head(part.acc, maps.v))
    _merge(softmax, index, part)


def grad_target(
    rows: SparseRows,
    packed: Tensor,
    table: Tensor,
    maps: RelationMaps | None,
    dq: Tensor,
    heads: int,
) -> tuple[Tensor, RelationMaps | None]:
    """See ``ml.hgt.attention.partials.Backend``."""
    hidden = dq.size(1)
    width = hidden // heads
    index = rows.index.long()
    own = packed.index_select(0, index)
    q, dout, rest = torch.split(own, [hidden, hidden, 2 * heads], dim=1)
    if maps is not None:
        own = torch.cat(
            [apply_per_head(q, maps.k.mT), apply_per_head(dout, maps.v.mT), rest], dim=1
        )
    dquery, value = torch.zeros_like(q), torch.zeros_like(q)
    for first, last, r, j in _chunks(rows):
        k, v = table.index_select(0, j).view(-1, 2, heads, width).unbind(1)
        p, slope = _weights(own[first:last].index_select(0, r), k, v)
        dquery[first:last].index_add_(0, r, (slope[:, :, None] * k).flatten(1))
        if maps is not None:
            value[first:last].index_add_(0, r, (p[:, :, None] * v).flatten(1))
    if maps is None:
        dq.index_add_(0, index, dquery)
        return packed, None
    dq.index_add_(0, index, apply_per_head(dquery, maps.k))
    turned = torch.empty_like(packed).index_copy_(0, index, own)
    return turned, RelationMaps(_outer(dquery, q, heads), _outer(value, dout, heads))


def grad_source(
    rows: SparseRows, packed: Tensor, table: Tensor, dtable: Tensor, heads: int
) -> None:
    """See ``ml.hgt.attention.partials.Backend``."""
    hidden = table.size(1) // 2
    index = rows.index.long()
    own = table.index_select(0, index)
    total = torch.zeros_like(own)
    for first, last, r, j in _chunks(rows):
        target = packed.index_select(0, j)
        k, v = own[first:last].index_select(0, r).view(-1, 2, heads, hidden // heads).unbind(1)
        p, slope = _weights(target, k, v)
        dk = slope[:, :, None] * target[:, :hidden].view_as(k)
        dv = p[:, :, None] * target[:, hidden : 2 * hidden].view_as(v)
        total[first:last].index_add_(0, r, torch.cat([dk.flatten(1), dv.flatten(1)], dim=1))
    dtable.index_add_(0, index, total)


def _chunks(rows: SparseRows) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """First and last row (excluded) of a chunk; index of each edge's row in it, and other end."""
    size = CHUNK.get(rows.other.device.type, CHUNK["cuda"])
    for e in range(0, rows.num_edges, size):
        edges = torch.arange(e, min(e + size, rows.num_edges), device=rows.start.device)
        r = torch.searchsorted(rows.start, edges, right=True) - 1
        first, last = int(r[0]), int(r[-1]) + 1
        yield first, last, r - first, rows.other[e : e + len(edges)].long()


def _weights(target: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Attention weight of each edge and gradient of its score. Shapes: [E, H]."""
    heads, width = k.shape[1:]
    q, dout, rest = torch.split(target, [heads * width, heads * width, 2 * heads], dim=1)
    p = ((q.view_as(k) * k).sum(2) - rest[:, :heads]).exp()
    return p, p * ((dout.view_as(v) * v).sum(2) - rest[:, heads:])


def _outer(x: Tensor, y: Tensor, heads: int) -> Tensor:
    """Σ over rows of the outer products, for each head. Shapes: [n, H·D] twice → [H, D, D]."""
    left, right = (z.reshape(len(z), heads, -1).transpose(0, 1) for z in (x, y))
    return torch.bmm(left.mT, right)


def _merge(softmax: PartialSoftmax, index: Tensor, part: PartialSoftmax) -> None:
    """Add partial results of the rows ``index`` to the softmax."""
    heads, width = softmax.heads_width
    before = softmax.top.index_select(0, index)
    top = torch.maximum(before, part.top)
    old, new = (before - top).exp(), (part.top - top).exp()
    softmax.top.index_copy_(0, index, top)
    softmax.total.index_copy_(
        0, index, softmax.total.index_select(0, index) * old + part.total * new
    )
    acc = softmax.acc.index_select(0, index).view(-1, heads, width) * old[:, :, None]
    acc += part.acc.view(-1, heads, width) * new[:, :, None]
    softmax.acc.index_copy_(0, index, acc.flatten(1))
