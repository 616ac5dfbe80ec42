"""The output of attention for some rows of one node type, without a pass over the graph."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ml.data.schema import EdgeKey
from ml.graph.adjacency import Rows
from ml.hgt.parts import Backend, Fold, State


@dataclass(frozen=True)
class RowMaps:
    """A layer's maps around the attention of one message type, on the states' own side.

    Args:
        query: From a query to what is multiplied with a source's state, and the constant.
            Shape: [H, D, hidden + 1].
        value: From the weighted sum of states and the sum of weights to the output.
            Shape: [H, hidden + 1, D].
    """

    query: Tensor
    value: Tensor

    @classmethod
    def of(cls, fold: Fold, key: Tensor, value: Tensor) -> "RowMaps":
        """From weight and bias beside each other of a source's keys and values.

        Shapes: [H·D, hidden + 1].
        """
        heads, width, _ = fold.k.shape
        query = fold.k.mT @ key.view(heads, width, -1)
        return cls(query.contiguous(), (value.view(heads, width, -1).mT @ fold.v).contiguous())


def attend_rows(
    q: Tensor,
    h_dict: Mapping[str, Tensor],
    edges: Mapping[EdgeKey, Rows],
    maps: Mapping[EdgeKey, RowMaps],
    heads: int,
) -> Tensor:
    """Compiled: float32 on the CPU.

    Shapes: queries [R, H·D] → [R, H·D].
    """
    from ml.hgt.compiled import attend_states

    state = State.empty(len(q), heads, q)
    for key, rows in edges.items():
        attend_states(rows, q, h_dict[key[0]], maps[key].query, maps[key].value, state)
    return state.finish()[0]


def attend_sources(
    q: Tensor,
    tables: Mapping[EdgeKey, tuple[Tensor, Rows]],
    folds: Mapping[EdgeKey, Fold],
    heads: int,
    backend: Backend,
) -> Tensor:
    """Any backend: from keys and values of the distinct sources of each message type."""
    state = State.empty(len(q), heads, q)
    for key, (table, rows) in tables.items():
        backend.attend(rows, q, table, folds[key], state)
    return state.finish()[0]


def each_once(rows: Rows, count: int) -> Rows:
    """The same edges with every index once and rising, as kernels on several threads need."""
    if len(rows) < 2 or bool((rows.index[1:] > rows.index[:-1]).all()):
        return rows
    return Rows.group(torch.repeat_interleave(rows.index, rows.start.diff()), rows.other, count)
