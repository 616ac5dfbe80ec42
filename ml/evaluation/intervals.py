"""How sure a share is, where cases come in groups."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

LEVEL = 0.95


@dataclass(frozen=True)
class Share:
    """A share of cases and its interval.

    Args:
        cases: How many cases there are.
        groups: How many groups they come in.
        effective: How many cases the groups count for.
    """

    value: float
    low: float
    high: float
    cases: int
    groups: int
    effective: float


def share_of(
    hits: npt.NDArray[np.bool_], group: npt.NDArray[Any], *, level: float = LEVEL
) -> Share:
    """Share of the cases that hit, with Wilson's interval for what the groups count for.

    Cases of one group (the held-out pairs of one user) say nearly the same. So they are counted as
    Kish's effective number of groups, (Σ n)² / Σ n², which is right where cases of a group are
    all alike and too wide where they are not.

    Args:
        hits: Shape: [n], at least one.
        group: Which group each case is of. Shape: [n].

    Raises:
        ValueError: if there are no cases.
    """
    if not len(hits):
        raise ValueError("a share of no cases was asked for, expected at least one")
    _, size = np.unique(group, return_counts=True)
    effective = float(size.sum() ** 2 / (size.astype(np.float64) ** 2).sum())
    value = float(np.mean(hits))
    low, high = wilson(value, effective, level=level)
    return Share(value, low, high, len(hits), len(size), effective)


def wilson(share: float, cases: float, *, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a binomial share (Wilson 1927).

    Args:
        cases: Above 0; need not be whole.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (share + z**2 / (2 * cases)) / (1 + z**2 / cases)
    half = z / (1 + z**2 / cases) * (share * (1 - share) / cases + (z / (2 * cases)) ** 2) ** 0.5
    # At 0 and 1 the bound is the share itself, but for rounding.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
