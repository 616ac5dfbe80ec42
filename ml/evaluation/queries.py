"""Which held-out pairs of an edge type are asked about, among which candidates, beside which
negatives."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.contracts.schema import EdgeType
from ml.evaluation.metrics import Ints, Neighbours
from ml.graph.graph import Edges, Pairs, distinct_pairs
from ml.graph.splits import AT_RANDOM, Split

Mask = npt.NDArray[np.bool_]

COLD = {"cold 0": (0, 0), "cold 1-4": (1, 4), "cold 5+": (5, None)}
"""Distinct targets that a source had before, by name of the slice; both ends included."""


@dataclass(frozen=True)
class Queries:
    """Held-out pairs of some sources, all pairs of each.

    Args:
        src: Shape: [Q].
        dst: Shape: [Q].
        slices: Which pairs are in which slice: ``repeat`` or ``new``, and how cold the source is.
            Shapes: [Q].
        removed: What is taken out of the ranking of a pair (``filtered``), of a source's list
            (``list``), and of the ranking among targets that are new to the source (``new``).
        random: A random target that is not true, and not the source itself. Shape: [Q].
        has_random: Pairs whose source has one. Shape: [Q].
        historical: A target that the source had before and that is not true. Shape: [Q].
        has_historical: Pairs whose source has one; none in data without times. Shape: [Q].
        known: Pairs known at the test cut.
        held_out: Distinct held-out pairs before any were drawn.
    """

    src: Ints
    dst: Ints
    slices: dict[str, Mask]
    removed: dict[str, Neighbours | None]
    random: Ints
    has_random: Mask
    historical: Ints
    has_historical: Mask
    known: Pairs
    held_out: int

    def __len__(self) -> int:
        return len(self.src)


def draw_queries(
    split: Split, edge: EdgeType, *, limit: int, generator: np.random.Generator
) -> Queries:
    """The test part of an edge type: all of it, or of random sources up to ``limit`` pairs."""
    nodes = split.observed.num_nodes
    sources, targets = nodes[edge.source], nodes[edge.target]
    known, held = split.observed.pairs(edge.key), distinct_pairs(split.test[edge.key], targets)
    untimed = split.method[edge.key] == AT_RANDOM
    both = distinct_pairs(
        Edges(known.src, known.dst).join(Edges(held.src, held.dst)), max(targets, 1)
    )
    rows = _whole_sources(held.src, limit, generator)
    src, dst = held.src[rows], held.dst[rows]
    is_known = np.isin(src * targets + dst, known.src * targets + known.dst)
    had = np.bincount(known.src, minlength=sources)[src]
    slices = {"repeat": is_known, "new": ~is_known}
    for name, (low, high) in COLD.items():
        slices[name] = (had >= low) & (had <= (had if high is None else high))
    everything = Neighbours.of(both.src, both.dst, sources)
    random, has_random = _random(
        src, both if untimed else held, targets, generator,
        without_self=edge.source == edge.target,
    )  # fmt: skip
    historical, has_historical = _historical(src, dst, known, held, sources, targets, generator)
    return Queries(
        src=src, dst=dst, slices=slices, known=known, held_out=len(held),
        removed={
            "filtered": everything if untimed else Neighbours.of(held.src, held.dst, sources),
            "list": Neighbours.of(known.src, known.dst, sources) if untimed else None,
            "new": everything,
        },
        random=random, has_random=has_random,
        historical=historical, has_historical=has_historical & (not untimed),
    )  # fmt: skip


def _whole_sources(src: Ints, limit: int, generator: np.random.Generator) -> Ints:
    """Rows of random sources, as many as give up to ``limit`` rows, one at least."""
    unique, row, size = np.unique(src, return_inverse=True, return_counts=True)
    order = generator.permutation(len(unique))
    chosen = np.zeros(len(unique), bool)
    chosen[order[np.cumsum(size[order]) <= limit]] = True
    chosen[order[:1]] = True
    return np.flatnonzero(chosen[row])


def _random(
    src: Ints, true: Pairs, targets: int, generator: np.random.Generator, *, without_self: bool
) -> tuple[Ints, Mask]:
    """A random target of each source that is not in ``true``; the mask says where there is one.

    Where there is none a target stands in its place that means nothing. Shapes: [Q], [Q].
    """
    sources, row = np.unique(src, return_inverse=True)
    excluded = true.src * targets + true.dst
    if without_self:
        excluded = np.concatenate([excluded, sources * targets + sources])
    excluded = np.unique(excluded)
    of, dst = np.divmod(excluded, max(targets, 1))
    start = np.searchsorted(of, sources)
    size = np.searchsorted(of, sources, side="right") - start
    # The n-th free target comes after as many excluded ones as have at most n free before them.
    free_before = dst - (np.arange(len(excluded)) - np.searchsorted(of, of))
    number = (generator.random(len(src)) * (targets - size)[row]).astype(np.int64)
    passed = np.searchsorted(
        of * (targets + 1) + free_before, src * (targets + 1) + number, "right"
    )
    return np.minimum(number + passed - start[row], targets - 1), (size < targets)[row]


def _historical(
    src: Ints,
    dst: Ints,
    known: Pairs,
    held: Pairs,
    sources: int,
    targets: int,
    generator: np.random.Generator,
) -> tuple[Ints, Mask]:
    """A random known target of each source that is not held out; the mask says where there is one.

    Where there is none the pair's own target stands in its place. Shapes: [Q], [Q].
    """
    past = ~np.isin(known.src * targets + known.dst, held.src * targets + held.dst)
    before = Neighbours.of(known.src[past], known.dst[past], sources)
    size = (before.start[1:] - before.start[:-1])[src]
    drawn = before.start[:-1][src] + (generator.random(len(src)) * size).astype(np.int64)
    has_candidates = size > 0
    negative = dst.copy()
    negative[has_candidates] = before.dst[drawn[has_candidates]]
    return negative, has_candidates
