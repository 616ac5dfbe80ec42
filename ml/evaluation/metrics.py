"""Metrics of scores and of probabilities, as pure functions of arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.contracts.reports.score import ReliabilityBin

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

Scorer = Callable[[Ints], Floats]
"""Scores of every node of the target type for some sources. Shapes: [B] → [B, N]."""

BINS = 10


@dataclass(frozen=True)
class Neighbours:
    """Known targets of each source; those of node i are ``dst[start[i]:start[i + 1]]``."""

    start: Ints
    dst: Ints

    @classmethod
    def of(cls, src: Ints, dst: Ints, num_sources: int) -> "Neighbours":
        """From distinct pairs, in any order. Shapes: [P], [P]."""
        order = np.argsort(src, kind="stable")
        start = np.zeros(num_sources + 1, np.int64)
        np.cumsum(np.bincount(src, minlength=num_sources), out=start[1:])
        return cls(start, dst[order])

    def rows(self, sources: Ints) -> tuple[Ints, Ints]:
        """Row in ``sources`` and target of every known pair of theirs. Shapes: [K], [K]."""
        size = self.start[sources + 1] - self.start[sources]
        row = np.repeat(np.arange(len(sources)), size)
        offset = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
        return row, self.dst[self.start[sources][row] + offset]


def mean_ranks(values: Floats) -> npt.NDArray[np.float64]:
    """Rank of each value from 1 upwards; ties get their mean rank. Shape: [n]."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


def auc(target: npt.NDArray[Any], score: Floats) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half.

    Raises:
        ValueError: if there is only one class.
    """
    positive = np.asarray(target, bool)
    n = _both_classes(positive)
    rank_sum = mean_ranks(score)[positive].sum()
    return float((rank_sum - n * (n + 1) / 2) / (n * (len(positive) - n)))


def average_precision(target: npt.NDArray[Any], score: Floats) -> float:
    """Σ (recall_k - recall_{k-1}) precision_k over thresholds; tied scores share one threshold.

    Raises:
        ValueError: if there is only one class.
    """
    positive = np.asarray(target, bool)
    _both_classes(positive)
    order = np.argsort(-score, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(score[order])), len(score) - 1]
    hits = np.cumsum(positive[order])[last]
    recall = hits / hits[-1]
    return float((np.diff(recall, prepend=0.0) * hits / (last + 1)).sum())


def brier(target: npt.NDArray[Any], p: Floats) -> float:
    """Mean squared difference of probability and outcome."""
    return float(np.mean((np.asarray(p, np.float64) - np.asarray(target, np.float64)) ** 2))


def reliability(target: npt.NDArray[Any], p: Floats, *, bins: int = BINS) -> list[ReliabilityBin]:
    """Mean probability and observed share in bins of equal width over [0, 1]; empty ones out."""
    bin_index = np.clip((np.asarray(p) * bins).astype(int), 0, bins - 1)
    table = []
    for number in range(bins):
        inside = bin_index == number
        if inside.any():
            table.append(
                ReliabilityBin(
                    low=number / bins,
                    high=(number + 1) / bins,
                    count=int(inside.sum()),
                    predicted=float(np.mean(np.asarray(p)[inside])),
                    observed=float(np.mean(np.asarray(target)[inside])),
                )
            )
    return table


def calibration_error(target: npt.NDArray[Any], p: Floats, *, bins: int = BINS) -> float:
    """Expected calibration error: |predicted - observed| of each bin, weighted by its size."""
    table = reliability(target, p, bins=bins)
    total = sum(row.count for row in table)
    return float(sum(row.count * abs(row.predicted - row.observed) for row in table) / total)


def _both_classes(positive: npt.NDArray[np.bool_]) -> int:
    n = int(positive.sum())
    if n in (0, len(positive)):
        raise ValueError(f"all {len(positive)} targets are {int(n > 0)}, expected both 0 and 1")
    return n
