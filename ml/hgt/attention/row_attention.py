"""The output of attention for some rows of one node type, without a pass over the graph."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ml.graph.adjacency import SparseRows
from ml.graph.message_types import MessageType
from ml.hgt.attention.partials import LOWEST, Backend, PartialSoftmax, RelationMaps


@dataclass(frozen=True)
class RowMaps:
    """A layer's maps around the attention of one node type, on the states' own side.

    Args:
        order: Message types that end here.
        query: From a query to what is multiplied with a source's state, and the constant; head by
            head, for each message type. Shape: [H, D, T·(hidden + 1)].
        value: From weighted sums of states and of weights to the output.
            Shape: [H, T·(hidden + 1), D].
    """

    order: tuple[MessageType, ...]
    query: Tensor
    value: Tensor


@dataclass(frozen=True)
class RowSoftmax:
    """What has arrived at each row, by head and message type; more can be added to it.

    Args:
        top: Maximum of the scores. Shape: [H, R, T].
        acc: Sum of exp(score - top) · state, and of exp(score - top). Shape: [H, R, T, hidden + 1].
    """

    top: npt.NDArray[np.float32]
    acc: npt.NDArray[np.float32]

    @classmethod
    def empty(cls, heads: int, rows: int, types: int, hidden: int) -> "RowSoftmax":
        """Nothing has arrived."""
        shape = (heads, rows, types)
        return cls(np.full(shape, LOWEST, np.float32), np.zeros((*shape, hidden + 1), np.float32))


def row_maps(
    order: tuple[MessageType, ...],
    relation_maps: RelationMaps,
    keys: list[Tensor],
    values: list[Tensor],
) -> RowMaps:
    """Maps of a node type's message types.

    Args:
        relation_maps: Of these message types. Shapes: [T, H, D, D].
        keys: Weight and bias beside each other of the keys of each message type's source.
            Shapes: [H·D, hidden + 1].
        values: The same for the values.
    """
    heads, width = relation_maps.k.shape[1:3]
    query = [
        a.mT @ k.view(heads, width, -1) for a, k in zip(relation_maps.k, keys, strict=True)
    ]  # [H, D, hidden + 1] each
    value = [
        v.view(heads, width, -1).mT @ a for a, v in zip(relation_maps.v, values, strict=True)
    ]  # [H, hidden + 1, D] each
    return RowMaps(order, torch.cat(query, 2).contiguous(), torch.cat(value, 1).contiguous())


def attend_rows(
    q: Tensor,
    h_dict: Mapping[str, Tensor],
    edges: Mapping[MessageType, SparseRows],
    maps: RowMaps,
    partial: RowSoftmax | None = None,
) -> Tensor:
    """Compiled: float32 on the CPU.

    Args:
        partial: What has arrived before; the edges are added to it in place. Its arrays are
            contiguous.

    Shapes: queries [R, H·D] → [R, H·D].
    """
    from ml.compute.threads import cut, run_pieces
    from ml.hgt.attention.row_kernels import row_kernels

    heads, width, columns = maps.query.shape
    rows, slots = len(q), len(maps.order)
    hidden = columns // slots - 1
    kernels = row_kernels(heads, hidden)
    query = torch.bmm(q.view(rows, heads, width).transpose(0, 1), maps.query)
    given = partial
    if partial is None:
        partial = RowSoftmax.empty(heads, rows, slots, hidden)
    flat_query, top, acc = query.view(-1).numpy(), partial.top.reshape(-1), partial.acc.reshape(-1)
    for slot, message in enumerate(maps.order):
        own = edges.get(message)
        if own is None or not own.num_edges:
            continue
        start = own.start.numpy()
        arrays = (
            own.index.numpy(), start, own.other.numpy(), flat_query,
            h_dict[message.source].contiguous().view(-1).numpy(), top, acc, rows, slots, slot,
        )  # fmt: skip

        def work(r0: int, r1: int, _: int, arrays: tuple[object, ...] = arrays) -> None:
            kernels.attend(r0, r1, *arrays)

        run_pieces(work, cut(start))
    if given is not None:
        top, acc = top.copy(), acc.copy()
    kernels.combine(rows, slots, top, acc)
    out = torch.bmm(torch.from_numpy(acc).view(heads, rows, -1), maps.value)
    return out.transpose(0, 1).reshape(rows, heads * width)


def attend_sources(
    q: Tensor,
    tables: Mapping[MessageType, tuple[Tensor, SparseRows]],
    maps: Mapping[MessageType, RelationMaps],
    heads: int,
    backend: Backend,
) -> Tensor:
    """Any backend: from keys and values of the distinct sources of each message type."""
    softmax = PartialSoftmax.empty(len(q), heads, q)
    for message, (table, rows) in tables.items():
        backend.attend(rows, q, table, maps[message], softmax)
    return softmax.finish()[0]


def each_once(rows: SparseRows, count: int) -> SparseRows:
    """The same edges with every index once and ascending, as kernels on several threads need."""
    if len(rows) < 2 or bool((rows.index[1:] > rows.index[:-1]).all()):
        return rows
    return SparseRows.group(
        torch.repeat_interleave(rows.index, rows.start.diff()), rows.other, count
    )
