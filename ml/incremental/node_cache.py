"""What is kept of the nodes of one type between batches of events."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ml.graph.growing_array import GrowingArray
from ml.hgt.encoders import NodeInputs, id_codes
from ml.incremental.priority import Stale

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

NEVER = np.inf


class NodeCache:
    """Ids, encoded features, states and staleness of the nodes of one type.

    Attributes:
        ids: Id of each node; its position is the node's index.
        identity: Who each node is, as its neighbours see it. Shape: [n, hidden].
        local: What its own edges say without attention. Shape: [n, hidden].
        hidden: States before each layer. Shapes: [n, hidden].
        z: Embeddings, of stale nodes as they were. Shape: [n, EMBEDDING_DIM].
        degree: In-edges over all message types. Shape: [n].
        since: Seconds since when ``z`` is stale; ``NEVER`` where it is not. Shape: [n].
        changed, change, computed: See ``ml.incremental.priority.Stale``. Shapes: [n].
    """

    def __init__(
        self, node_type: str, ids: Sequence[str], inputs: NodeInputs, *, hidden: int, layers: int,
        dim: int,
    ) -> None:  # fmt: skip
        self.node_type = node_type
        self.ids = list(ids)
        self.index = {node_id: i for i, node_id in enumerate(self.ids)}
        self.numeric = GrowingArray(inputs.numeric.numpy())
        self.categorical = GrowingArray(inputs.categorical.numpy().astype(np.int32))
        self.slot = GrowingArray(inputs.slot.numpy().astype(np.int32))
        size = len(self.ids)
        self.identity = _floats(size, hidden)
        self.local = _floats(size, hidden)
        self.hidden = [_floats(size, hidden) for _ in range(layers)]
        self.z = _floats(size, dim)
        self.degree = GrowingArray(np.zeros(size, np.int64))
        self.since = GrowingArray(np.full(size, NEVER), NEVER)
        self.changed = GrowingArray(np.full(size, -NEVER), -NEVER)
        self.change = GrowingArray(np.zeros(size, np.float32))
        self.computed = GrowingArray(np.full(size, -NEVER), -NEVER)

    def __len__(self) -> int:
        return len(self.ids)

    def names(self, rows: Ints) -> list[str]:
        """Ids of some nodes."""
        return [self.ids[row] for row in rows.tolist()]

    def add(self, ids: Sequence[str]) -> Ints:
        """Room for new nodes, whose features and states are to be set.

        Returns:
            Their indices. Shape: [len(ids)].
        """
        first = len(self.ids)
        self.ids += ids
        self.index.update(zip(ids, range(first, len(self.ids)), strict=True))
        for column in (
            self.numeric, self.categorical, self.slot, self.identity, self.local, *self.hidden,
            self.z, self.degree, self.since, self.changed, self.change, self.computed,
        ):  # fmt: skip
            column.grow(len(self.ids))
        return np.arange(first, len(self.ids))

    def differs(self, rows: Ints, inputs: NodeInputs) -> npt.NDArray[np.bool_]:
        """Which of some nodes have other features than these. Shape: [len(rows)]."""
        numeric = self.numeric.values[rows] != inputs.numeric.numpy()
        categorical = self.categorical.values[rows] != inputs.categorical.numpy()
        other: npt.NDArray[np.bool_] = numeric.any(axis=1) | categorical.any(axis=1)
        return other

    def set_inputs(self, rows: Ints, inputs: NodeInputs) -> None:
        """Encoded features of some nodes."""
        self.numeric.values[rows] = inputs.numeric.numpy()
        self.categorical.values[rows] = inputs.categorical.numpy()
        self.slot.values[rows] = inputs.slot.numpy()

    def inputs(self) -> NodeInputs:
        """Encoded features of all nodes."""
        return NodeInputs(
            torch.from_numpy(self.numeric.values),
            torch.from_numpy(self.categorical.values).long(),
            torch.from_numpy(id_codes(self.node_type, self.ids)),
            torch.from_numpy(self.slot.values).long(),
        )

    def touch(self, rows: Ints, change: Floats, *, now: float) -> None:
        """Mark nodes stale; who is already stays so since then."""
        self.since.values[rows] = np.minimum(self.since.values[rows], now)
        self.changed.values[rows] = now
        self.change.values[rows] += change

    def settle(self, rows: Ints, z: Floats, *, now: float) -> None:
        """Embeddings of some nodes are fresh."""
        self.z.values[rows] = z
        self.since.values[rows] = NEVER
        self.change.values[rows] = 0
        self.computed.values[rows] = now

    def stale_rows(self) -> Ints:
        """Ascending."""
        return np.flatnonzero(self.since.values < NEVER)

    def stale(self, rows: Ints) -> Stale:
        """What their priority depends on."""
        return Stale(
            self.since.values[rows], self.changed.values[rows], self.change.values[rows],
            self.degree.values[rows], self.computed.values[rows],
        )  # fmt: skip


def tensor(column: GrowingArray) -> Tensor:
    """A view of the array; do not keep it while the array grows."""
    return torch.from_numpy(column.values)


def _floats(size: int, width: int) -> GrowingArray:
    return GrowingArray(np.zeros((size, width), np.float32))
