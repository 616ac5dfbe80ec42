"""A synthetic telecom population with planted structure, so that a model that learns nothing is
seen to.

Users live in circles of about 25, circles in communities. Most calls stay in the circle, and each
circle has its own taste in the products and apps of its community; some of everything goes by
popularity alone. Most pairs of a user and a target are active for a few days, so that after any
cut in time there are new pairs as well as repeated ones. Churn depends on fee, tenure and usage,
which rules can see, and on a hidden risk of circle and community, which only the graph shows.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import polars as pl
from faker import Faker
from numpy.typing import NDArray

from ml.contracts.schema import TELECOM
from ml.data.frames import NAMES, Tables, make_tables
from ml.data.population import (
    RELATIONS,
    Floats,
    Population,
    SynthesisConfig,
    draw_population,
    draw_structured,
    draw_uniform,
)

__all__ = ["SynthesisConfig", "synthesize", "write_dataset"]

Progress = Callable[[float, str], None]

PLANS = ("Month-to-month", "One year", "Two year")
LEVELS = ("basic", "silver", "gold")
DEVICES = 8


def synthesize(config: SynthesisConfig, progress: Progress | None = None) -> Tables:
    """The population as checked tables of the schema TELECOM; the same config, the same tables."""
    rng = np.random.default_rng(config.seed)
    report = progress or (lambda done, message: None)
    report(0.0, "drawing users")
    population = draw_population(config, rng)
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


def write_dataset(config: SynthesisConfig, path: Path, progress: Progress | None = None) -> None:
    """Write the population as one zip of users, products, apps and events as CSV, ready to upload.

    The same config gives the same bytes (on the same versions of the libraries).
    """
    report = progress or (lambda done, message: None)
    tables = synthesize(config, lambda done, message: report(0.6 * done, message))
    with ZipFile(path, "w") as archive:
        for index, name in enumerate(NAMES):
            report(0.6 + 0.1 * index, f"writing {name}")
            entry = ZipInfo(f"{name}.csv", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as file:
                frame: pl.DataFrame = getattr(tables, name)
                frame.write_csv(file, datetime_format="%Y-%m-%dT%H:%M:%SZ")
    report(1.0, "dataset is written")


def ids(node: str, count: int) -> list[str]:
    """Ids of the nodes of one type: ``u00001``, ``p00001``, ``a00001``, …"""
    return [f"{node[0]}{index:05d}" for index in range(1, count + 1)]


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
    draw = draw_structured if config.structure else draw_uniform
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
