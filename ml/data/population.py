"""The hidden structure of a synthetic population, and events drawn from it."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CIRCLE = 25
BURST = 3 * 86_400
"""Users a circle; mean seconds that a pair of a user and a target is active."""


@dataclass(frozen=True)
class SynthesisConfig:
    """How large the population is and whether it has structure.

    Args:
        structure: False draws every actor, target and time uniformly, so that links can't be
            predicted, and lets churn depend on fee, tenure and usage alone.
        days: Length of the history, which ends at ``end``.
    """

    users: int = 5_000
    events: int = 200_000
    products: int = 200
    apps: int = 80
    communities: int = 12
    seed: int = 7
    structure: bool = True
    days: int = 120
    end: datetime = datetime(2025, 6, 30, tzinfo=UTC)

    def __post_init__(self) -> None:
        for name in ("users", "products", "apps", "communities", "days"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.users < 2:
            raise ValueError(f"users is {self.users}, expected at least 2: they call each other")
        if self.events < 0:
            raise ValueError(f"events is {self.events}, expected 0 or more")
        if self.end.tzinfo is None:
            raise ValueError("end has no time zone, expected one")


@dataclass(frozen=True)
class SyntheticRelation:
    """How one kind of event is drawn.

    Args:
        share: Of all events.
        repeats: Events a pair, about.
        lasting: Share of the pairs that last the whole time.
        mixture: How pairs divide into the circle's taste, the community's, and popularity.
    """

    type: str
    target: str
    share: float
    repeats: float
    lasting: float
    mixture: tuple[float, float, float]


RELATIONS = (
    SyntheticRelation("call", "user", 0.30, 3.0, 0.02, (0.85, 0.10, 0.05)),
    SyntheticRelation("order", "product", 0.10, 1.5, 0.10, (0.65, 0.20, 0.15)),
    SyntheticRelation("click", "product", 0.20, 2.0, 0.10, (0.55, 0.25, 0.20)),
    SyntheticRelation("use", "app", 0.30, 4.0, 0.10, (0.65, 0.20, 0.15)),
    SyntheticRelation("click", "app", 0.10, 2.0, 0.10, (0.55, 0.25, 0.20)),
)


@dataclass(frozen=True)
class Population:
    """The hidden state: who belongs where, and what is popular.

    Shapes: circle [users], community [circles], popularity of each node type [nodes],
        taste of each item type [circles, items] and of each community [communities, items]
    """

    circle: Ints
    community: Ints
    popularity: dict[str, Floats]
    circle_taste: dict[str, Floats]
    community_taste: dict[str, Floats]


def draw_population(config: SynthesisConfig, rng: np.random.Generator) -> Population:
    """Who belongs where and what is popular, at random."""
    circles = max(1, round(config.users / CIRCLE))
    circle = rng.permutation(np.arange(config.users) % circles)
    community = np.sort(np.arange(circles) % config.communities)
    popularity = {"user": _zipf(config.users, 0.5, rng)}
    circle_taste, community_taste = {}, {}
    for name, count in (("product", config.products), ("app", config.apps)):
        popularity[name] = _zipf(count, 0.9, rng)
        home = rng.permutation(np.arange(count) % config.communities)
        at_home = (home[None, :] == np.arange(config.communities)[:, None]) + 1e-9
        community_taste[name] = _normal(at_home * np.sqrt(popularity[name]))
        likes = rng.gamma(0.25, size=(circles, count)) + 1e-6
        circle_taste[name] = _normal(community_taste[name][community] * likes)
    return Population(circle, community, popularity, circle_taste, community_taste)


def _zipf(count: int, exponent: float, rng: np.random.Generator) -> Floats:
    """Weights falling as a power of the rank, in random order; they sum to 1."""
    weights = 1.0 / np.arange(1, count + 1) ** exponent
    return np.asarray(rng.permutation(weights / weights.sum()))


def _normal(weights: Floats) -> Floats:
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def draw_structured(
    config: SynthesisConfig,
    population: Population,
    relation: SyntheticRelation,
    count: int,
    rng: np.random.Generator,
) -> tuple[Ints, Ints, Ints]:
    """Distinct pairs by taste, each with a time of its own; then events spread over the pairs."""
    pairs = max(1, round(count / relation.repeats))
    activity = rng.lognormal(0.0, 0.6, config.users)
    source = rng.choice(config.users, size=pairs, p=activity / activity.sum())
    level = rng.choice(3, size=pairs, p=relation.mixture)
    if relation.target == "user":
        target = _callees(population, source, level, rng)
        source, target = source[source != target], target[source != target]
    else:
        target = _liked(population, relation.target, source, level, rng)
    distinct = np.unique(np.stack([source, target], axis=1), axis=0)
    weight = rng.lognormal(0.0, 0.7, len(distinct))
    pair = rng.choice(len(distinct), size=count, p=weight / weight.sum())
    pair[: len(distinct)] = np.arange(len(distinct))[:count]  # no pair without an event
    span = config.days * 86_400
    begin = rng.random(len(distinct)) * span
    lasting = rng.random(len(distinct)) < relation.lasting
    length = np.where(lasting, span, rng.exponential(BURST, len(distinct)))
    end = np.minimum(begin + length, span - 1)
    begin = np.where(lasting, 0.0, np.minimum(begin, span - 1))
    second = begin[pair] + rng.random(count) * (end - begin)[pair]
    return distinct[pair, 0], distinct[pair, 1], second.astype(np.int64)


def _callees(population: Population, source: Ints, level: Ints, rng: np.random.Generator) -> Ints:
    """Somebody of the circle, the community or at large, by popularity."""
    circle = population.circle
    order = np.lexsort((circle, population.community[circle]))
    ends = np.cumsum(population.popularity["user"][order])
    block = circle[order]
    lows, highs = np.zeros((2, 3, len(circle)))
    for row, group in enumerate((block, population.community[block], np.zeros_like(block))):
        change = np.flatnonzero(np.diff(group)) + 1
        first = np.repeat(np.r_[0, change], np.diff(np.r_[0, change, len(group)]))
        last = np.repeat(np.r_[change, len(group)] - 1, np.diff(np.r_[0, change, len(group)]))
        lows[row, order] = np.where(first > 0, ends[first - 1], 0.0)
        highs[row, order] = ends[last]
    low, high = lows[level, source], highs[level, source]
    index = np.searchsorted(ends, low + rng.random(len(source)) * (high - low), side="right")
    return np.asarray(order[np.minimum(index, len(order) - 1)])


def _liked(
    population: Population, name: str, source: Ints, level: Ints, rng: np.random.Generator
) -> Ints:
    """An item by the circle's taste, the community's, or popularity."""
    circle = population.circle[source]
    circles, communities = len(population.community), len(population.community_taste[name])
    tastes = (
        population.circle_taste[name],
        population.community_taste[name],
        population.popularity[name][None, :],
    )
    row = np.choose(level, [circle, circles + population.community[circle], circles + communities])
    ends = np.cumsum(np.concatenate(tastes), axis=1)
    items = ends.shape[1]
    flat = (ends / ends[:, -1:] + np.arange(len(ends))[:, None]).ravel()
    index = np.searchsorted(flat, row + rng.random(len(source)), side="right") - row * items
    return np.asarray(np.clip(index, 0, items - 1))


def draw_uniform(
    config: SynthesisConfig,
    population: Population,
    relation: SyntheticRelation,
    count: int,
    rng: np.random.Generator,
) -> tuple[Ints, Ints, Ints]:
    """Actor, target and time of every event independent and uniform."""
    actor = rng.integers(0, config.users, count)
    target = rng.integers(0, len(population.popularity[relation.target]), count)
    if relation.target == "user":
        shift = rng.integers(1, config.users, count)
        target = (actor + shift) % config.users
    return actor, target, rng.integers(0, config.days * 86_400, count)
