"""Which stale rows are recomputed first.

A row's score is the sum of

- recency: ``recency · 2^(-t / half_life)``, t the seconds since something upstream changed last;
- size: ``size · min(1, change)``, change the share of what the row is made of that is new since it
  was computed: new in-edges by in-edges, plus the relative change of its own state, plus the mean
  relative change of its neighbours' states;
- degree: ``degree · log(1 + d) / log(1 + 10^6)``, at most ``degree``: whom many point at is read
  more;
- age: ``t / patience``, t the seconds it has been stale.

All but the age are bounded by B = recency + size + degree. A row that has been stale for longer
than ``B · patience`` more than another is ahead of it whatever else holds, so what is drained and
becomes stale again gets behind: no row waits longer than ``B · patience`` and the time to drain
every row once. The order never changes a result.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MANY = np.log1p(1e6)


@dataclass(frozen=True, kw_only=True)
class PriorityConfig:
    """Weights of the score, and what guards against hubs.

    Args:
        recency: Weight of a change that happened just now.
        half_life: Seconds after which it weighs half.
        size: Weight of a change of everything that the row is made of.
        degree: Weight of a row with a million in-edges.
        patience: Seconds of waiting that count as much as a weight of 1.
        hub_degree: Rows with more in-edges are hubs.
        hub_seconds: While other rows wait, a hub is recomputed at most once in so many seconds: it
            is at most this much staler than it would be otherwise. A read does not wait for it.
    """

    recency: float = 1.0
    half_life: float = 10.0
    size: float = 2.0
    degree: float = 0.5
    patience: float = 10.0
    hub_degree: int = 20_000
    hub_seconds: float = 5.0

    def __post_init__(self) -> None:
        if min(self.recency, self.size, self.degree) < 0:
            raise ValueError(f"{self} has a negative weight, expected 0 or more")
        if min(self.half_life, self.patience) <= 0:
            raise ValueError(f"{self}: expected half_life and patience above 0")

    @property
    def bound(self) -> float:
        """The most that a score has beside its age."""
        return self.recency + self.size + self.degree


@dataclass(frozen=True)
class Stale:
    """Stale rows; all of shape [n].

    Args:
        since: Seconds: since when each is stale.
        changed: Seconds: when something upstream changed last.
        change: See ``size`` above.
        degree: In-edges.
        computed: Seconds: when each was computed last.
    """

    since: Floats
    changed: Floats
    change: npt.NDArray[np.float32]
    degree: Ints
    computed: Floats

    def __len__(self) -> int:
        return len(self.since)

    @classmethod
    def join(cls, parts: Sequence["Stale"]) -> "Stale":
        """The rows of all parts."""
        columns = [[getattr(part, f.name) for part in parts] for f in fields(cls)]
        return cls(*(np.concatenate(column) for column in columns))

    @property
    def cost(self) -> Ints:
        """Edges that are touched to recompute each row; a row without any counts as one."""
        return np.maximum(self.degree, 1)


def scores(stale: Stale, config: PriorityConfig, *, now: float) -> Floats:
    """The score of each row, the most urgent highest. Shape: [n]."""
    fresh = np.exp2(np.minimum(stale.changed - now, 0) / config.half_life)
    degree = np.minimum(np.log1p(stale.degree) / MANY, 1)
    age = np.maximum(now - stale.since, 0)
    bounded = config.recency * fresh + config.degree * degree
    score: Floats = bounded + config.size * np.minimum(stale.change, 1) + age / config.patience
    return score


def select(stale: Stale, budget: int, config: PriorityConfig, *, now: float) -> Ints:
    """The rows to recompute now, the most urgent first.

    Rows are taken in order while their edges fit into the budget, and the first one always, or a
    row with more edges than a budget would never get its turn. Hubs that were computed less than
    ``hub_seconds`` ago are left out as long as there are other rows.

    Args:
        budget: Edges.
    """
    rows = np.arange(len(stale))
    resting = (stale.degree > config.hub_degree) & (now - stale.computed < config.hub_seconds)
    if resting.any() and not resting.all():
        rows = np.flatnonzero(~resting)
    ranked = rows[_highest(scores(stale, config, now=now)[rows], max(budget, 1))]
    fits = np.cumsum(stale.cost[ranked]) <= budget
    fits[:1] = True
    chosen: Ints = ranked[fits]
    return chosen


def _highest(values: Floats, count: int) -> npt.NDArray[Any]:
    """Indices of the ``count`` highest values, descending; of equal ones the first is first."""
    indices = np.arange(len(values))
    if count < len(values):
        least = np.partition(values, len(values) - count)[len(values) - count]
        indices = np.flatnonzero(values >= least)
    return indices[np.argsort(-values[indices], kind="stable")][:count]
