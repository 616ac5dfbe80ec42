"""Nodes with many in-edges: what has arrived at them is kept, and only new edges are added.

It holds for what is made of states that no event changes: the neighbourhood and the first layer.
Where features change, who is reached by them is forgotten and gone through anew at its next edge.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from ml.graph.adjacency import SparseRows
from ml.graph.growing_array import GrowingArray
from ml.graph.message_types import MessageType
from ml.hgt.attention.neighbour_sums import sum_rows
from ml.hgt.attention.partials import LOWEST
from ml.hgt.attention.row_attention import RowSoftmax
from ml.hgt.layer import HGTLayer
from ml.hgt.model import HGT
from ml.incremental.node_cache import NodeCache, tensor

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


class Hubs:
    """Partial results of the hubs of every node type.

    Args:
        least: In-edges from which on a node is a hub.
    """

    def __init__(self, model: HGT, caches: Mapping[str, NodeCache], *, least: int) -> None:
        self.model, self.caches, self.least = model, caches, least
        layer = model.layers[0]
        assert isinstance(layer, HGTLayer)
        self.layer = layer
        self.order = {
            name: [message for message in model.message_types if message.target == name]
            for name in caches
        }
        self._stores = {
            name: _Store(layer.heads, len(layer.arriving(name)), len(order), layer.hidden)
            for name, order in self.order.items()
        }

    def among(self, name: str, rows: Ints) -> Bools:
        """Which of the nodes are hubs. Shape: [R]."""
        is_hub: Bools = self.caches[name].degree.values[rows] >= self.least
        return is_hub

    def stored(self, name: str, rows: Ints) -> Bools:
        """Which of the nodes have partial results here. Shape: [R]."""
        slot = self._stores[name].slot
        return np.array([int(row) in slot for row in rows], np.bool_)

    def forget(self, name: str, rows: Ints) -> None:
        """What is kept of these nodes does not hold any more."""
        store = self._stores[name]
        for row in store.slot.keys() & set(rows.tolist()):
            store.free.append(store.slot.pop(row))

    def clear(self) -> None:
        """Nothing is kept any more; what is added up in many steps drifts from one sum."""
        for store in self._stores.values():
            store.clear()

    @torch.no_grad()
    def extend(
        self, name: str, rows: Ints, edges: Mapping[MessageType, SparseRows]
    ) -> tuple[Floats, Floats]:
        """Add in-edges: the new ones of nodes that are stored, else all.

        Returns:
            Neighbourhoods and states after the first layer. Shapes: [R, hidden].
        """
        store = self._stores[name]
        slots = store.slots(rows)
        partial = store.partial(slots)
        h_dict = {other: tensor(cache.hidden[0]) for other, cache in self.caches.items()}
        own = h_dict[name][torch.from_numpy(rows)]
        state = self.layer.forward_rows(name, own, h_dict, edges, partial=partial)
        store.keep(slots, partial)
        local = torch.zeros_like(own)
        for message, own_edges in edges.items():
            t = self.order[name].index(message.ageless)
            total = sum_rows(tensor(self.caches[message.source].identity), own_edges, len(rows))
            store.totals.values[slots, t] += total.numpy()
            store.degrees.values[slots, t] += own_edges.degree(len(rows)).numpy()
        for t, message in enumerate(self.order[name]):
            total = torch.from_numpy(store.totals.values[slots, t])
            degree = torch.from_numpy(store.degrees.values[slots, t])
            local += self.model.neighbourhood.part(message, total, degree, degree.float().log1p())
        return local.numpy(), state.numpy()


class _Store:
    """Partial results of one node type, a slot for each hub.

    T are the message types, A these in each class of ages. Shapes: top [slots, H, A],
    acc [slots, H, A, hidden + 1], totals [slots, T, hidden], degrees [slots, T].
    """

    def __init__(self, heads: int, aged: int, types: int, hidden: int) -> None:
        self.slot: dict[int, int] = {}
        self.free: list[int] = []
        self.top = GrowingArray(np.empty((0, heads, aged), np.float32), LOWEST)
        self.acc = GrowingArray(np.empty((0, heads, aged, hidden + 1), np.float32))
        self.totals = GrowingArray(np.empty((0, types, hidden), np.float32))
        self.degrees = GrowingArray(np.empty((0, types), np.int64))

    @property
    def columns(self) -> tuple[GrowingArray, ...]:
        return self.top, self.acc, self.totals, self.degrees

    def clear(self) -> None:
        self.slot.clear()
        self.free.clear()
        for column in self.columns:
            column.shrink(0)

    def slots(self, rows: Ints) -> Ints:
        """The slot of each node; of one that is not stored an empty one. Shape: [R]."""
        new = [row for row in rows.tolist() if row not in self.slot]
        used = self.free[: len(new)]
        del self.free[: len(new)]
        first = len(self.top)
        fresh = range(first, first + len(new) - len(used))
        for column in self.columns:
            column.values[used] = column.empty
            column.grow(first + len(fresh))
        self.slot.update(zip(new, [*used, *fresh], strict=True))
        return np.array([self.slot[row] for row in rows.tolist()], np.int64)

    def partial(self, slots: Ints) -> RowSoftmax:
        top, acc = self.top.values[slots], self.acc.values[slots]
        return RowSoftmax(
            np.ascontiguousarray(top.swapaxes(0, 1)), np.ascontiguousarray(acc.swapaxes(0, 1))
        )

    def keep(self, slots: Ints, partial: RowSoftmax) -> None:
        self.top.values[slots] = partial.top.swapaxes(0, 1)
        self.acc.values[slots] = partial.acc.swapaxes(0, 1)
