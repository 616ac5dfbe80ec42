"""A synthetic telecom population with planted structure, so that a model that learns nothing is
seen to.

Users live in circles of about 35, circles in communities. Most calls stay in the circle, and each
circle has its own taste in the products and apps of its community; some of everything goes by
popularity alone. Most pairs of a user and a target are active for a few days, so that after any
cut in time there are new pairs as well as repeated ones. Churn depends on fee, tenure and usage,
which rules can see, and on a hidden risk of circle and community, which only the graph shows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from faker import Faker
from numpy.typing import NDArray

from ml.data.frames import Tables, make_tables
from ml.data.schema import TELECOM

Progress = Callable[[float, str], None]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CIRCLE = 35
PLANS = ("Month-to-month", "One year", "Two year")
LEVELS = ("basic", "silver", "gold")
DEVICES = 8


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
class Relation:
    """How one kind of event is drawn: its share of all events, events a pair, and how the
    targets divide into the circle's taste, the community's, and popularity."""

    type: str
    target: str
    share: float
    repeats: float
    mixture: tuple[float, float, float]


RELATIONS = (
    Relation("call", "user", 0.30, 4.0, (0.80, 0.12, 0.08)),
    Relation("order", "product", 0.10, 1.5, (0.65, 0.20, 0.15)),
    Relation("click", "product", 0.20, 2.0, (0.55, 0.25, 0.20)),
    Relation("use", "app", 0.30, 4.0, (0.65, 0.20, 0.15)),
    Relation("click", "app", 0.10, 2.0, (0.55, 0.25, 0.20)),
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


def synthesize(config: SynthesisConfig, progress: Progress | None = None) -> Tables:
    """The population as checked tables of the schema TELECOM; the same config, the same tables."""
    rng = np.random.default_rng(config.seed)
    report = progress or (lambda done, message: None)
    report(0.0, "drawing users")
    population = _population(config, rng)
    users = _users(config, population, rng)
    report(0.1, "drawing events")
    events = _events(config, population, rng, report)
    report(0.9, "drawing churn")
    users["churn"] = _churn(config, users, events, population, rng)
    products, apps = _items(config, rng)
    report(1.0, "population is drawn")
    return make_tables(
        TELECOM, users=pl.DataFrame(users), products=products, apps=apps, events=_frame(events)
    )


def ids(node: str, count: int) -> list[str]:
    """Ids of the nodes of one type: ``u00001``, ``p00001``, ``a00001``, …"""
    return [f"{node[0]}{index:05d}" for index in range(1, count + 1)]


def _population(config: SynthesisConfig, rng: np.random.Generator) -> Population:
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


def _users(
    config: SynthesisConfig, population: Population, rng: np.random.Generator
) -> dict[str, Any]:
    brands = np.array(_names(config, "brand", DEVICES))
    community = population.community[population.circle]
    tenure = np.minimum(np.floor(rng.gamma(1.3, 24.0, config.users)), 96.0)
    plan = np.clip(np.floor(tenure / 30 + rng.normal(0, 0.8, config.users)), 0, 2).astype(int)
    level = rng.choice(len(LEVELS), size=config.users, p=[0.5, 0.35, 0.15])
    fee = np.clip(rng.normal(45 + 18 * level, 16, config.users), 9.0, 180.0)
    own = rng.random(config.users) < (0.4 if config.structure else 0.0)
    brand = np.where(own, community % DEVICES, rng.integers(0, DEVICES, config.users))
    return {
        "user_id": ids("user", config.users),
        "monthly_fee": np.round(fee, 2),
        "tenure_months": tenure,
        "plan": np.array(PLANS)[plan],
        "level": np.array(LEVELS)[level],
        "device_brand": brands[brand],
    }


def _items(config: SynthesisConfig, rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    products = {
        "product_id": ids("product", config.products),
        "price": np.round(rng.gamma(2.0, 12.0, config.products) + 1.0, 2),
        "name": _names(config, "product", config.products),
    }
    apps = {"app_id": ids("app", config.apps), "name": _names(config, "app", config.apps)}
    return pl.DataFrame(products), pl.DataFrame(apps)


def _names(config: SynthesisConfig, kind: str, count: int) -> list[str]:
    """Different names from Faker, always the same for a seed."""
    fake = Faker("en_US")
    fake.seed_instance(f"{config.seed} {kind}")
    make: Callable[[], str] = {
        "brand": lambda: fake.last_name(),
        "product": lambda: f"{fake.color_name()} {fake.word().title()}",
        "app": lambda: f"{fake.word().title()}{fake.word().title()}",
    }[kind]
    names: dict[str, None] = {}
    while len(names) < count:
        name = make()
        names[name if name not in names else f"{name} {len(names) + 1}"] = None
    return list(names)


def _events(
    config: SynthesisConfig, population: Population, rng: np.random.Generator, report: Progress
) -> dict[str, Any]:
    counts = [round(config.events * relation.share) for relation in RELATIONS]
    counts[0] += config.events - sum(counts)
    draw = _structured if config.structure else _uniform
    parts = []
    for index, (relation, count) in enumerate(zip(RELATIONS, counts, strict=True)):
        actor, target, second = draw(config, population, relation, count, rng)
        parts.append((np.full(count, index), actor, target, second))
        report(0.1 + 0.6 * (index + 1) / len(RELATIONS), f"drew {relation.type} {relation.target}")
    relation_of, actor, target, second = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    order = np.lexsort((target, actor, relation_of, second))
    return {
        "relation": relation_of[order],
        "actor": actor[order],
        "target": target[order],
        "second": second[order],
        "start": config.end - timedelta(days=config.days),
        "ids": _uuids(len(order), rng),
        "names": {
            "user": ids("user", config.users),
            "product": ids("product", config.products),
            "app": ids("app", config.apps),
        },
    }


def _structured(
    config: SynthesisConfig,
    population: Population,
    relation: Relation,
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
    lasting = rng.random(len(distinct)) < 0.15
    length = np.where(lasting, span, rng.exponential(4 * 86_400, len(distinct)))
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
    place = np.searchsorted(ends, low + rng.random(len(source)) * (high - low), side="right")
    return np.asarray(order[np.minimum(place, len(order) - 1)])


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
    place = np.searchsorted(flat, row + rng.random(len(source)), side="right") - row * items
    return np.asarray(np.clip(place, 0, items - 1))


def _uniform(
    config: SynthesisConfig,
    population: Population,
    relation: Relation,
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


def _uuids(count: int, rng: np.random.Generator) -> list[str]:
    """Version 4 UUIDs from the generator."""
    text = rng.bytes(16 * count).hex()
    return [
        f"{text[i : i + 8]}-{text[i + 8 : i + 12]}-4{text[i + 13 : i + 16]}"
        f"-a{text[i + 17 : i + 20]}-{text[i + 20 : i + 32]}"
        for i in range(0, 32 * count, 32)
    ]


def _churn(
    config: SynthesisConfig,
    users: dict[str, Any],
    events: dict[str, Any],
    population: Population,
    rng: np.random.Generator,
) -> NDArray[np.int8]:
    """0 or 1 by chance; a quarter churn on average."""
    use = [index for index, relation in enumerate(RELATIONS) if relation.type == "use"]
    used = np.bincount(events["actor"][np.isin(events["relation"], use)], minlength=config.users)
    logit = 0.8 * _standard(users["monthly_fee"]) - 1.0 * _standard(users["tenure_months"])
    logit = logit - 0.6 * _standard(np.log1p(used))
    if config.structure:
        community = rng.normal(0, 1, config.communities)
        circle = 1.3 * _standard(community)[population.community]
        circle = circle + 0.6 * rng.normal(0, 1, len(population.community))
        logit = logit + circle[population.circle]
    churned = rng.random(config.users) < 1 / (1 + np.exp(1.6 - logit))
    return churned.astype(np.int8)


def _standard(values: Floats) -> Floats:
    return np.asarray((values - values.mean()) / (values.std() + 1e-9))


def _frame(events: dict[str, Any]) -> pl.DataFrame:
    relation = events["relation"]
    types = pl.Series([each.type for each in RELATIONS], dtype=pl.String)
    targets = pl.Series([each.target for each in RELATIONS], dtype=pl.String)
    names = {name: pl.Series(values, dtype=pl.String) for name, values in events["names"].items()}
    start = pl.lit(events["start"]).cast(pl.Datetime("us", "UTC"))
    frame = pl.DataFrame(
        {
            "event_id": events["ids"],
            "type": types.gather(relation),
            "second": events["second"],
            "actor": names["user"].gather(events["actor"]),
            "index": events["target"],
            "target_type": targets.gather(relation),
        }
    )
    target = pl.coalesce(
        pl.when(pl.col("target_type") == name).then(
            pl.col("index").replace_strict(
                np.arange(len(of_type)), of_type, default=None, return_dtype=pl.String
            )
        )
        for name, of_type in names.items()
    )
    time = start + pl.duration(seconds="second")
    return frame.with_columns(target=target, timestamp=time.dt.cast_time_unit("us"))
