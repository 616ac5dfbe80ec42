"""InfoNCE over the edges of one type: symmetric, with known positives masked."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

FULL_SOFTMAX = 4096
"""Target types up to this size are ranked whole; larger ones against the batch's own targets."""


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

    def mask(self, nodes: Tensor, column: Tensor, width: int) -> Tensor:
        """Which candidates are known neighbours of ``nodes``.

        Args:
            nodes: Shape: [B].
            column: Place of each node among the candidates, -1 if it is none. Shape: [n].
            width: Number of candidates.

        Shapes: [B, width].
        """
        # A product is asked for by many edges of a batch, and has many users: each node once.
        unique, inverse = torch.unique(nodes, return_inverse=True)
        first = self.start[unique]
        size = self.start[unique + 1] - first
        row = torch.repeat_interleave(torch.arange(len(unique), device=nodes.device), size)
        offset = torch.arange(len(row), device=nodes.device)
        offset = offset - torch.repeat_interleave(size.cumsum(0) - size, size)
        place = column[self.neighbour[first[row] + offset]]
        known = torch.zeros(len(unique), width, dtype=torch.bool, device=nodes.device)
        known[row[place >= 0], place[place >= 0]] = True
        return known.index_select(0, inverse)


def info_nce(
    z: Tensor,
    z_other: Tensor,
    node: Tensor,
    other: Tensor,
    *,
    positives: Positives,
    scale: Tensor,
    bias: Tensor,
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

    Returns:
        The mean over the batch, or None if there are fewer than two candidates.
    """
    if len(z_other) <= FULL_SOFTMAX:
        candidates = torch.arange(len(z_other), device=z.device)
    else:
        candidates = torch.unique(other)
    if len(candidates) < 2:
        return None
    column = torch.full((len(z_other),), -1, dtype=torch.long, device=z.device)
    column[candidates] = torch.arange(len(candidates), device=z.device)
    # index_select, as the gradient of z[node] adds up in no fixed order
    logits = scale * (z.index_select(0, node) @ z_other.index_select(0, candidates).T)
    logits = logits + bias.index_select(0, candidates)  # [B, candidates]
    known = positives.mask(node, column, len(candidates))
    known[torch.arange(len(node), device=z.device), column[other]] = False
    return F.cross_entropy(logits.masked_fill(known, float("-inf")), column[other])


def edge_loss(
    z_src: Tensor,
    z_dst: Tensor,
    pairs: Tensor,
    *,
    forward: Positives,
    backward: Positives,
    scale: Tensor,
    bias_src: Tensor,
    bias_dst: Tensor,
) -> Tensor | None:
    """Symmetric InfoNCE: the mean of finding the target and finding the source.

    Args:
        pairs: Edges to learn from. Shape: [2, B].

    Returns:
        None where the batch is empty or a side has fewer than two nodes: such an edge type
        contributes nothing, and the loop says so.
    """
    if pairs.size(1) == 0 or min(len(z_src), len(z_dst)) < 2:
        return None
    ahead = info_nce(
        z_src, z_dst, pairs[0], pairs[1], positives=forward, scale=scale, bias=bias_dst
    )
    back = info_nce(
        z_dst, z_src, pairs[1], pairs[0], positives=backward, scale=scale, bias=bias_src
    )
    if ahead is None or back is None:
        return None
    return (ahead + back) / 2
