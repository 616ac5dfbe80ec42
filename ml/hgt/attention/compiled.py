"""The compiled backend of attention: CPU, float32."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ml.compute.threads import cut, run_pieces
from ml.graph.adjacency import SparseRows
from ml.hgt.attention.kernels import compiled
from ml.hgt.attention.partials import PartialSoftmax, RelationMaps

Floats = npt.NDArray[np.float32]
_NONE = np.empty(0, np.float32)


def attend(
    rows: SparseRows, q: Tensor, table: Tensor, maps: RelationMaps | None, softmax: PartialSoftmax
) -> None:
    """See ``ml.hgt.attention.partials.Backend``."""
    kernel = compiled(*softmax.heads_width).attend
    index, start, other = _edges(rows)
    to_q, to_v = (_NONE, _NONE) if maps is None else (_flat(maps.k.mT), _flat(maps.v))
    arrays = (
        index, start, other, _flat(q), _flat(table), maps is not None, to_q, to_v,
        _flat(softmax.top), _flat(softmax.total), _flat(softmax.acc),
    )  # fmt: skip
    run_pieces(lambda r0, r1, _: kernel(r0, r1, *arrays), cut(start))


def grad_target(
    rows: SparseRows,
    packed: Tensor,
    table: Tensor,
    maps: RelationMaps | None,
    dq: Tensor,
    heads: int,
) -> tuple[Tensor, RelationMaps | None]:
    """See ``ml.hgt.attention.partials.Backend``."""
    width = dq.size(1) // heads
    kernel = compiled(heads, width).grad_target
    index, start, other = _edges(rows)
    bounds = cut(start)
    if maps is None:
        turned, matrices, da = packed, (_NONE, _NONE, _NONE), _NONE
    else:
        turned = torch.empty_like(packed)
        matrices = (_flat(maps.k.mT), _flat(maps.k), _flat(maps.v.mT))
        da = np.zeros((len(bounds) - 1) * 2 * heads * width * width, np.float32)
    arrays = (
        index, start, other, _flat(packed), _flat(turned), _flat(table), maps is not None,
        *matrices, _flat(dq), da,
    )  # fmt: skip
    run_pieces(lambda r0, r1, piece: kernel(r0, r1, *arrays, piece), bounds)
    if maps is None:
        return packed, None
    total = torch.from_numpy(da).view(-1, 2, heads, width, width).sum(0)
    return turned, RelationMaps(total[0].mT, total[1])


def grad_source(
    rows: SparseRows, packed: Tensor, table: Tensor, dtable: Tensor, heads: int
) -> None:
    """See ``ml.hgt.attention.partials.Backend``."""
    kernel = compiled(heads, table.size(1) // (2 * heads)).grad_source
    index, start, other = _edges(rows)
    arrays = (index, start, other, _flat(packed), _flat(table), _flat(dtable))
    run_pieces(lambda r0, r1, _: kernel(r0, r1, *arrays), cut(start))


def _edges(
    rows: SparseRows,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    return rows.index.numpy(), rows.start.numpy(), rows.other.numpy()


def _flat(tensor: Tensor) -> Floats:
    """The tensor's own memory where it is contiguous, as tensors that are written to are."""
    flat: Floats = tensor.detach().reshape(-1).numpy()
    return flat
