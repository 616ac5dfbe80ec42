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

from ml.graph.adjacency import Adjacency
from ml.graph.message_types import MessageSender, MessageType
from ml.hgt.attention import chunked
from ml.hgt.attention.partials import Backend, PartialSoftmax, RelationMaps, apply_per_head, pack

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
class _Call:
    """What is no tensor in a call."""

    adjacency: Adjacency
    order: tuple[MessageType, ...]
    senders: tuple[MessageSender, ...]
    targets: tuple[str, ...]
    backend: Backend

    def arriving(self, target: str) -> list[tuple[int, MessageType]]:
        """Message types with edges that end at ``target``, with their index in the order."""
        return [
            (t, message) for t, message in enumerate(self.order)
            if message.target == target and message in self.adjacency.relations
            and self.adjacency.relations[message].by_target.num_edges
        ]  # fmt: skip

    def at_target(self, message: MessageType) -> bool:
        """Whether a relation's maps are applied to its targets, as these are not more."""
        return self.adjacency.num_nodes[message.target] <= self.adjacency.num_nodes[message.source]


def attend(
    q_dict: Mapping[str, Tensor],
    table_dict: Mapping[MessageSender, Tensor],
    maps: RelationMaps,
    adjacency: Adjacency,
    order: tuple[MessageType, ...],
    *,
    backend: BackendName = "auto",
) -> dict[str, Tensor]:
    """Output of attention for each target type; zero for a node at which nothing arrives.

    out_v = Σ_{t, u→v} softmax(q_v · k_u A_t) v_u B_t, the softmax over all edges into v.

    Args:
        q_dict: Queries by target type. Shapes: [n, H·D].
        table_dict: Keys, then values by sender. Shapes: [n, 2·H·D].
        maps: Maps of keys (with all scaling) and values of each message type in ``order``.
            Shapes: [T, H, D, D].

    Shapes: [n, H·D].
    """
    senders, targets = tuple(table_dict), tuple(q_dict)
    tensors = [tensor.contiguous() for tensor in (*q_dict.values(), *table_dict.values())]
    call = _Call(adjacency, order, senders, targets, backend_for(backend, tensors[0]))
    out = _Attention.apply(call, maps.k, maps.v, *tensors)  # type: ignore[no-untyped-call]
    return dict(zip(targets, out, strict=True))


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, a_k: Tensor, a_v: Tensor, *tensors: Tensor) -> Any:
        q_dict = dict(zip(call.targets, tensors, strict=False))
        table_dict = dict(zip(call.senders, tensors[len(call.targets) :], strict=True))
        heads = a_k.size(1)
        outs, log_sums = [], []
        for name, q in q_dict.items():
            softmax = PartialSoftmax.empty(len(q), heads, q)
            for t, message in call.arriving(name):
                rows, maps = (
                    call.adjacency.relations[message].by_target,
                    RelationMaps(a_k[t], a_v[t]),
                )
                if call.at_target(message):
                    call.backend.attend(rows, q, table_dict[message.sender], maps, softmax)
                else:
                    table = _mapped(table_dict[message.sender], maps)
                    call.backend.attend(rows, q, table, None, softmax)
            out, log_sum = softmax.finish()
            outs.append(out)
            log_sums.append(log_sum)
        ctx.call = call
        ctx.save_for_backward(a_k, a_v, *tensors, *outs, *log_sums)
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *douts: Tensor) -> Any:
        call: _Call = ctx.call
        a_k, a_v, *saved = ctx.saved_tensors
        size, heads = len(call.targets), a_k.size(1)
        tables = saved[size : size + len(call.senders)]
        table_dict = dict(zip(call.senders, tables, strict=True))
        dtable_dict = {name: torch.zeros_like(table) for name, table in table_dict.items()}
        da_k, da_v = torch.zeros_like(a_k), torch.zeros_like(a_v)
        results = saved[size + len(call.senders) :]
        dqs = []
        for name, q, out, log_sum, dout in zip(
            call.targets, saved, results, results[size:], douts, strict=False
        ):
            packed, dq = pack(q, out, log_sum, dout), torch.zeros_like(q)
            for t, message in call.arriving(name):
                sender, maps = message.sender, RelationMaps(a_k[t], a_v[t])
                relation = call.adjacency.relations[message]
                if call.at_target(message):
                    table, dtable, inner = table_dict[sender], dtable_dict[sender], maps
                else:
                    table, inner = _mapped(table_dict[sender], maps), None
                    dtable = torch.zeros_like(table)
                turned, dmaps = call.backend.grad_target(
                    relation.by_target, packed, table, inner, dq, heads
                )
                call.backend.grad_source(relation.by_source, turned, table, dtable, heads)
                if dmaps is None:
                    dmaps = _map_gradients(table_dict[sender], dtable, maps, dtable_dict[sender])
                da_k[t], da_v[t] = dmaps.k, dmaps.v
            dqs.append(dq)
        return (None, da_k, da_v, *dqs, *dtable_dict.values())


def _mapped(table: Tensor, maps: RelationMaps) -> Tensor:
    """A relation's keys and values from those of its source type."""
    k, v = table.chunk(2, dim=1)
    return torch.cat([apply_per_head(k, maps.k), apply_per_head(v, maps.v)], dim=1)


def _map_gradients(
    table: Tensor, dmapped: Tensor, maps: RelationMaps, dtable: Tensor
) -> RelationMaps:
    """Backward of ``_mapped``: adds to ``dtable`` and gives the gradient of the maps."""
    grads = []
    heads = len(maps.k)
    parts = zip(
        table.chunk(2, 1), dmapped.chunk(2, 1), (maps.k, maps.v), dtable.chunk(2, 1), strict=True
    )
    for x, dout, matrix, dx in parts:
        dx += apply_per_head(dout, matrix.mT)
        left, right = (z.reshape(len(z), heads, -1).transpose(0, 1) for z in (x, dout))
        grads.append(torch.bmm(left.mT, right))
    return RelationMaps(*grads)
