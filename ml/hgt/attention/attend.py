"""Softmax attention over all in-edges of a node, jointly over message types, without edge tensors.

The message types are handled one after the other: each gives a partial maximum, sum and
accumulator that are merged as in flash attention (Dao et al., arXiv 2205.14135), and the backward
pass makes the weights anew from the log-sum-exp. So nothing of the size edges × hidden exists, and
of the relations' projected tables one at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ml.contracts.schema import EdgeKey
from ml.graph.adjacency import Adjacency
from ml.hgt.attention import chunked
from ml.hgt.attention.partials import Backend, Fold, State, apply_fold, pack

BackendName = Literal["auto", "numba", "torch"]


def backend_for(name: BackendName, like: Tensor) -> Backend:
    """The backend called ``name``; ``auto`` is the compiled one where it can be.

    Raises:
        ValueError: on an unknown name, or if the compiled backend is asked for a tensor that is not
            float32 on a CPU.
    """
    fits = like.device.type == "cpu" and like.dtype == torch.float32
    if name not in ("auto", "numba", "torch"):
        raise ValueError(f"backend is {name!r}, expected 'auto', 'numba' or 'torch'")
    if name == "numba" and not fits:
        raise ValueError(
            f"backend 'numba' got {like.dtype} on {like.device}, expected float32 on the CPU: "
            "choose 'auto' or 'torch'"
        )
    if name == "torch" or not fits:
        return chunked
    # Loads the compiler, which takes a second that not every process should pay.
    from ml.hgt.attention import compiled

    return compiled


@dataclass(frozen=True)
class _Plan:
    """What is no tensor in a call."""

    adjacency: Adjacency
    order: tuple[EdgeKey, ...]
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    backend: Backend

    def arriving(self, target: str) -> list[tuple[int, EdgeKey]]:
        """Message types with edges that end at ``target``, with their place in the order."""
        return [
            (t, key) for t, key in enumerate(self.order)
            if key[2] == target and key in self.adjacency.relations
            and self.adjacency.relations[key].by_target.num_edges
        ]  # fmt: skip

    def at_target(self, key: EdgeKey) -> bool:
        """Whether a relation's maps are applied to its targets, as these are not more."""
        return self.adjacency.num_nodes[key[2]] <= self.adjacency.num_nodes[key[0]]


def attend(
    q_dict: Mapping[str, Tensor],
    table_dict: Mapping[str, Tensor],
    fold: Fold,
    adjacency: Adjacency,
    order: tuple[EdgeKey, ...],
    *,
    backend: BackendName = "auto",
) -> dict[str, Tensor]:
    """Output of attention for each target type; zero for a node at which nothing arrives.

    out_v = Σ_{t, u→v} softmax(q_v · k_u A_t) v_u B_t, the softmax over all edges into v.

    Args:
        q_dict: Queries by target type. Shapes: [n, H·D].
        table_dict: Keys, then values by source type. Shapes: [n, 2·H·D].
        fold: Maps of keys (with all scaling) and values of each message type in ``order``.
            Shapes: [T, H, D, D].

    Shapes: [n, H·D].
    """
    sources, targets = tuple(table_dict), tuple(q_dict)
    tensors = [tensor.contiguous() for tensor in (*q_dict.values(), *table_dict.values())]
    plan = _Plan(adjacency, order, sources, targets, backend_for(backend, tensors[0]))
    out = _Attention.apply(plan, fold.k, fold.v, *tensors)  # type: ignore[no-untyped-call]
    return dict(zip(targets, out, strict=True))


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: _Plan, a_k: Tensor, a_v: Tensor, *tensors: Tensor) -> Any:
        q_dict = dict(zip(plan.targets, tensors, strict=False))
        table_dict = dict(zip(plan.sources, tensors[len(plan.targets) :], strict=True))
        heads = a_k.size(1)
        outs, log_sums = [], []
        for name, q in q_dict.items():
            state = State.empty(len(q), heads, q)
            for t, key in plan.arriving(name):
                rows, fold = plan.adjacency.relations[key].by_target, Fold(a_k[t], a_v[t])
                if plan.at_target(key):
                    plan.backend.attend(rows, q, table_dict[key[0]], fold, state)
                else:
                    table = _folded(table_dict[key[0]], fold)
                    plan.backend.attend(rows, q, table, None, state)
            out, log_sum = state.finish()
            outs.append(out)
            log_sums.append(log_sum)
        ctx.plan = plan
        ctx.save_for_backward(a_k, a_v, *tensors, *outs, *log_sums)
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *douts: Tensor) -> Any:
        plan: _Plan = ctx.plan
        a_k, a_v, *saved = ctx.saved_tensors
        size, heads = len(plan.targets), a_k.size(1)
        tables = saved[size : size + len(plan.sources)]
        table_dict = dict(zip(plan.sources, tables, strict=True))
        dtable_dict = {name: torch.zeros_like(table) for name, table in table_dict.items()}
        da_k, da_v = torch.zeros_like(a_k), torch.zeros_like(a_v)
        results = saved[size + len(plan.sources) :]
        dqs = []
        for name, q, out, log_sum, dout in zip(
            plan.targets, saved, results, results[size:], douts, strict=False
        ):
            packed, dq = pack(q, out, log_sum, dout), torch.zeros_like(q)
            for t, key in plan.arriving(name):
                source, fold = key[0], Fold(a_k[t], a_v[t])
                relation = plan.adjacency.relations[key]
                if plan.at_target(key):
                    table, dtable, inner = table_dict[source], dtable_dict[source], fold
                else:
                    table, inner = _folded(table_dict[source], fold), None
                    dtable = torch.zeros_like(table)
                turned, dfold = plan.backend.grad_target(
                    relation.by_target, packed, table, inner, dq, heads
                )
                plan.backend.grad_source(relation.by_source, turned, table, dtable, heads)
                if dfold is None:
                    dfold = _unfold(table_dict[source], dtable, fold, dtable_dict[source])
                da_k[t], da_v[t] = dfold.k, dfold.v
            dqs.append(dq)
        return (None, da_k, da_v, *dqs, *dtable_dict.values())


def _folded(table: Tensor, fold: Fold) -> Tensor:
    """A relation's keys and values from those of its source type."""
    k, v = table.chunk(2, dim=1)
    return torch.cat([apply_fold(k, fold.k), apply_fold(v, fold.v)], dim=1)


def _unfold(table: Tensor, dfolded: Tensor, fold: Fold, dtable: Tensor) -> Fold:
    """Backward of ``_folded``: adds to ``dtable`` and gives the gradient of the fold."""
    grads = []
    heads = len(fold.k)
    parts = zip(
        table.chunk(2, 1), dfolded.chunk(2, 1), (fold.k, fold.v), dtable.chunk(2, 1), strict=True
    )
    for x, dout, matrix, dx in parts:
        dx += apply_fold(dout, matrix.mT)
        left, right = (z.reshape(len(z), heads, -1).transpose(0, 1) for z in (x, dout))
        grads.append(torch.bmm(left.mT, right))
    return Fold(*grads)
