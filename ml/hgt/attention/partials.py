"""What the backends of attention share: the maps of a relation, partial results, packed rows."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ml.graph.adjacency import SparseRows

LOWEST = -1e30
"""Maximum of a target at which nothing has arrived yet."""


@dataclass(frozen=True)
class RelationMaps:
    """A relation's maps k' = k · maps.k and v' = v · maps.v for each head.

    Where the targets are fewer than the sources, they are applied to the query (transposed) and to
    the accumulator instead, with the same result.

    Args:
        k: Shape: [H, D, D]. v: Shape: [H, D, D].
    """

    k: Tensor
    v: Tensor


@dataclass(frozen=True)
class PartialSoftmax:
    """Softmax-weighted sum of what has arrived at each target so far; changed in place.

    Args:
        top: Maximum of the scores. Shape: [n, H].
        total: Sum of exp(score - top). Shape: [n, H].
        acc: Sum of exp(score - top) · v. Shape: [n, H·D].
    """

    top: Tensor
    total: Tensor
    acc: Tensor

    @classmethod
    def empty(cls, size: int, heads: int, like: Tensor) -> "PartialSoftmax":
        """Nothing has arrived; ``like`` gives hidden width, device and type."""
        return cls(
            like.new_full((size, heads), LOWEST),
            like.new_zeros(size, heads),
            like.new_zeros(size, like.size(1)),
        )

    @property
    def heads_width(self) -> tuple[int, int]:
        return self.top.size(1), self.acc.size(1) // self.top.size(1)

    def finish(self) -> tuple[Tensor, Tensor]:
        """Attention's output (zero where nothing arrived) and log-sum-exp; uses up the arrays."""
        heads, width = self.heads_width
        total = self.total.masked_fill_(self.total == 0, 1.0)
        out = self.acc.view(-1, heads, width).div_(total[:, :, None]).view(-1, heads * width)
        return out, self.top + total.log()


class Backend(Protocol):
    """One message type at a time; ``table`` is [k, v] of the sources, shape [n, 2·H·D].

    ``maps`` is None where they are in the table already.
    """

    def attend(
        self,
        rows: SparseRows,
        q: Tensor,
        table: Tensor,
        maps: RelationMaps | None,
        softmax: PartialSoftmax,
    ) -> None:
        """Merge the messages of ``rows`` (by target) into the partial results of their targets."""

    def grad_target(
        self,
        rows: SparseRows,
        packed: Tensor,
        table: Tensor,
        maps: RelationMaps | None,
        dq: Tensor,
        heads: int,
    ) -> tuple[Tensor, RelationMaps | None]:
        """Add the queries' gradient to ``dq``.

        Args:
            packed: See ``pack``. Shape: [n, 2·H·D + 2·H].

        Returns:
            ``packed`` as the sources' gradient needs it, and the gradient of the maps.
        """

    def grad_source(
        self, rows: SparseRows, packed: Tensor, table: Tensor, dtable: Tensor, heads: int
    ) -> None:
        """Add the gradient of ``table`` to ``dtable``, from ``rows`` by source."""


def pack(q: Tensor, out: Tensor, log_sum: Tensor, dout: Tensor) -> Tensor:
    """What the edges of a target need in the backward pass, in neighbouring memory.

    Shapes: [n, H·D], [n, H·D], [n, H], [n, H·D] → [n, 2·H·D + 2·H].
    """
    heads = log_sum.size(1)
    inner = (out * dout).view(len(out), heads, -1).sum(2)
    return torch.cat([q, dout, log_sum, inner], dim=1)


def apply_per_head(x: Tensor, matrix: Tensor) -> Tensor:
    """x · matrix for each head. Shapes: [n, H·D], [H, D, D] → [n, H·D]."""
    heads, width, _ = matrix.shape
    turned = torch.bmm(x.reshape(-1, heads, width).transpose(0, 1), matrix)
    return turned.transpose(0, 1).reshape(-1, heads * width)
