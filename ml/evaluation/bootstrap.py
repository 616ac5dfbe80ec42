"""How sure an AUC is, and a difference of two: a bootstrap over users."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.evaluation.metrics import Floats, auc

RESAMPLES = 1000
LEVEL = 0.95
BLOCK = 2_000_000


@dataclass(frozen=True)
class Difference:
    """AUC of the first score minus that of the second, and the interval of its resamples."""

    value: float
    low: float
    high: float
    level: float
    resamples: int


@dataclass(frozen=True)
class Area:
    """An AUC and the interval of its resamples."""

    value: float
    low: float
    high: float


def auc_interval(
    target: npt.NDArray[Any],
    score: Floats,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Area:
    """Percentile interval; a resample draws users with replacement.

    Resamples in which one class is missing are left out.

    Args:
        target: 0 or 1. Shape: [n].
        score: Shape: [n].

    Raises:
        ValueError: if there is only one class.
    """
    (drawn,) = _resampled(target, [score], resamples, seed)
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Area(auc(target, score), float(low), float(high))


def auc_difference(
    target: npt.NDArray[Any],
    first: Floats,
    second: Floats,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Difference:
    """Percentile interval; a resample draws users with replacement, each with both of its scores.

    Resamples in which one class is missing are left out.

    Args:
        target: 0 or 1. Shape: [n].
        first: Shape: [n].
        second: Shape: [n].

    Raises:
        ValueError: if there is only one class.
    """
    value = auc(target, first) - auc(target, second)
    one, other = _resampled(target, [first, second], resamples, seed)
    low, high = np.nanquantile(one - other, [(1 - level) / 2, (1 + level) / 2])
    return Difference(float(value), float(low), float(high), level, resamples)


def _resampled(
    target: npt.NDArray[Any], scores: list[Floats], resamples: int, seed: int
) -> npt.NDArray[np.float64]:
    """AUC of each score in each resample, all scores on the same users. Shape: [S, resamples]."""
    generator = np.random.default_rng(seed)
    parts = []
    for size in _blocks(resamples, len(target)):
        times = counts(generator.integers(0, len(target), (size, len(target))))
        parts.append([weighted_auc(target, score, times) for score in scores])
    return np.concatenate(parts, axis=1)


def counts(drawn: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """How often each user was drawn in each resample. Shapes: [B, n] → [B, n]."""
    size, n = drawn.shape
    place = drawn + np.arange(size)[:, None] * n
    return np.bincount(place.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def weighted_auc(
    target: npt.NDArray[Any], score: Floats, weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """AUC of users that count several times, by resample; NaN where a class is missing.

    Shapes: [n], [n], [B, n] → [B].
    """
    order = np.argsort(score, kind="stable")
    starts = np.r_[0, np.flatnonzero(np.diff(score[order])) + 1]
    positive = np.asarray(target, bool)[order]
    ordered = weights[:, order]
    plus = np.add.reduceat(ordered * positive, starts, axis=1)
    minus = np.add.reduceat(ordered * ~positive, starts, axis=1)
    below = np.cumsum(minus, axis=1) - minus / 2
    with np.errstate(invalid="ignore"):
        area: npt.NDArray[np.float64] = (plus * below).sum(1) / (plus.sum(1) * minus.sum(1))
    return area


def _blocks(resamples: int, n: int) -> list[int]:
    """Sizes of blocks of resamples that bound the memory."""
    size = max(1, BLOCK // max(n, 1))
    return [min(size, resamples - first) for first in range(0, resamples, size)]
