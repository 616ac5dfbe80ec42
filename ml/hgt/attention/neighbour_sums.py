"""Sums over neighbours, gathered by target and, in the backward pass, by source."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ml.graph.adjacency import Relation, SparseRows


def gather_sum(table: Tensor, relation: Relation, num_targets: int) -> Tensor:
    """Sum of the rows of each target's sources; zero where there are none.

    Shapes: [sources, d] → [num_targets, d].
    """
    out: Tensor = _GatherSum.apply(table, relation, num_targets)  # type: ignore[no-untyped-call]
    return out


def sum_rows(table: Tensor, rows: SparseRows, size: int) -> Tensor:
    """``gather_sum`` along one direction, without a gradient. Shapes: [m, d] → [size, d]."""
    out = table.new_zeros(size, table.size(1))
    if rows.num_edges:
        offsets = rows.start[:-1]
        bags = F.embedding_bag(rows.other.to(offsets.dtype), table, offsets, mode="sum")
        out.index_copy_(0, rows.index.long(), bags)
    return out


class _GatherSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, relation: Relation, num_targets: int) -> Tensor:
        ctx.relation, ctx.num_sources = relation, len(table)
        return sum_rows(table, relation.by_target, num_targets)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return sum_rows(grads[0].contiguous(), ctx.relation.by_source, ctx.num_sources), None, None
