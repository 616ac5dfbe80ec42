"""InfoNCE over the edges of one type: symmetric, with known positives masked."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

FULL_SOFTMAX = 4096
"""Target types up to this size are ranked whole; larger ones against the batch's own targets."""


class KnownPositives(Protocol):
    """The known pairs of one edge type, asked from one end."""

    def mask(self, nodes: Tensor, candidates: Tensor) -> Tensor:
        """Which candidates are known neighbours of ``nodes``. Shapes: [B], [C] → [B, C]."""


@dataclass(frozen=True)
class BatchShard:
    """Part ``rank`` of ``of`` parts of a batch."""

    rank: int = 0
    of: int = 1


WHOLE = BatchShard()


@dataclass(frozen=True)
class Positives:
    """Known pairs of one edge type by one end: neighbours of node i are
    ``neighbour[start[i]:start[i + 1]]``."""

    start: Tensor
    neighbour: Tensor

    @classmethod
    def of(cls, node: Tensor, neighbour: Tensor, num_nodes: int) -> "Positives":
        """Shapes: [P], [P]."""
        order = torch.argsort(node, stable=True)
        start = torch.zeros(num_nodes + 1, dtype=torch.long, device=node.device)
        start[1:] = torch.bincount(node, minlength=num_nodes).cumsum(0)
        return cls(start, neighbour[order])

    def mask(self, nodes: Tensor, candidates: Tensor) -> Tensor:
        """See ``KnownPositives``."""
        width = len(candidates)
        # A product is asked for by many edges of a batch, and has many users: each node once.
        unique, inverse = torch.unique(nodes, return_inverse=True)
        first = self.start[unique]
        size = self.start[unique + 1] - first
        row = torch.repeat_interleave(torch.arange(len(unique), device=nodes.device), size)
        offset = torch.arange(len(row), device=nodes.device)
        offset = offset - torch.repeat_interleave(size.cumsum(0) - size, size)
        neighbour = self.neighbour[first[row] + offset]
        index = torch.searchsorted(candidates, neighbour).clamp(max=width - 1)
        is_candidate = candidates[index] == neighbour
        known = torch.zeros(len(unique), width, dtype=torch.bool, device=nodes.device)
        known[row[is_candidate], index[is_candidate]] = True
        return known.index_select(0, inverse)


def info_nce(
    z: Tensor,
    z_other: Tensor,
    node: Tensor,
    other: Tensor,
    *,
    positives: KnownPositives,
    scale: Tensor,
    bias: Tensor,
    candidates: Tensor | None = None,
    shard: BatchShard = WHOLE,
) -> Tensor | None:
    """Loss of finding ``other`` from ``node``.

    -log softmax over candidates c of scale * <z_node, z_c> + bias_c, at c = other; other known
    neighbours of ``node`` are no candidates.

    Args:
        z: Embeddings of the type that asks. Shape: [n, d].
        z_other: Embeddings of the type that is looked for. Shape: [m, d].
        node: Shape: [B].
        other: Shape: [B].
        scale: One over the temperature.
        bias: What is added for each candidate, whoever asks: its popularity. Shape: [m].
        candidates: Among whom ``other`` is looked for, ascending; see ``choose_candidates``.
        shard: What part of the batch is computed; the parts add up to the loss.

    Returns:
        The mean over the batch, or None if there are fewer than two candidates.
    """
    if candidates is None:
        candidates = choose_candidates(other, len(z_other))
    if len(candidates) < 2:
        return None
    batch = len(node)
    node, other = node[shard.rank :: shard.of], other[shard.rank :: shard.of]
    # index_select, as the gradient of z[node] adds up in no fixed order
    logits = scale * (z.index_select(0, node) @ z_other.index_select(0, candidates).T)
    logits = logits + bias.index_select(0, candidates)  # [B, candidates]
    position = torch.searchsorted(candidates, other.contiguous())
    known = positives.mask(node, candidates)
    known[torch.arange(len(node), device=z.device), position] = False
    total = F.cross_entropy(logits.masked_fill(known, float("-inf")), position, reduction="sum")
    return total / batch


def choose_candidates(other: Tensor, size: int) -> Tensor:
    """All of ``size`` nodes up to ``FULL_SOFTMAX``, else those of the batch, ascending."""
    if size <= FULL_SOFTMAX:
        return torch.arange(size, device=other.device)
    return torch.unique(other)


def edge_loss(
    z_src: Tensor,
    z_dst: Tensor,
    pairs: Tensor,
    *,
    forward: KnownPositives,
    backward: KnownPositives,
    scale: Tensor,
    bias_src: Tensor,
    bias_dst: Tensor,
    candidates: tuple[Tensor | None, Tensor | None] = (None, None),
    shard: BatchShard = WHOLE,
) -> Tensor | None:
    """Symmetric InfoNCE: the mean of finding the target and finding the source.

    Args:
        pairs: Edges to learn from. Shape: [2, B].
        candidates: Sources and targets to choose from; see ``info_nce``.

    Returns:
        None where the batch is empty or a side has fewer than two nodes: such an edge type
        contributes nothing, and the loop says so.
    """
    if pairs.size(1) == 0 or min(len(z_src), len(z_dst)) < 2:
        return None
    ahead = info_nce(
        z_src, z_dst, pairs[0], pairs[1], positives=forward, scale=scale, bias=bias_dst,
        candidates=candidates[1], shard=shard,
    )  # fmt: skip
    back = info_nce(
        z_dst, z_src, pairs[1], pairs[0], positives=backward, scale=scale, bias=bias_src,
        candidates=candidates[0], shard=shard,
    )  # fmt: skip
    if ahead is None or back is None:
        return None
    return (ahead + back) / 2
