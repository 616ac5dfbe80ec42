"""The synthetic population: reproducible, readable, and with the structure it promises."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from ml.contracts.mapping import parse_mapping
from ml.contracts.schema import EDGES, TELECOM
from ml.data.population import draw_population
from ml.data.synthesis import SynthesisConfig, synthesize, write_dataset
from ml.data.tables import event_counts, read_tables

SMALL = SynthesisConfig(users=400, events=6_000, products=40, apps=20, communities=4, days=60)
MIDDLE = SynthesisConfig(users=2_500, events=60_000)
EVENTS = [(edge.event, edge.target) for edge in EDGES]


@pytest.fixture(scope="module")
def planted():
    return synthesize(MIDDLE)


@pytest.fixture(scope="module")
def unplanted():
    return synthesize(replace(MIDDLE, structure=False))


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_dataset(SMALL, tmp_path / name)
    write_dataset(replace(SMALL, seed=8), tmp_path / "c")
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_what_is_written_reads_back_whole(tmp_path):
    path = tmp_path / "synthetic.zip"
    steps = []
    write_dataset(SMALL, path, lambda done, message: steps.append(done))
    assert steps == sorted(steps)
    assert steps[-1] == 1.0
    now = datetime(2025, 7, 1, tzinfo=UTC)
    tables, report = read_tables(path, parse_mapping(None), filename="synthetic.zip", now=now)
    made = synthesize(SMALL)
    for name in ("users", "products", "apps", "events"):
        assert getattr(tables, name).equals(getattr(made, name)), name
    assert report.rejected == []
    assert report.warnings == []
    assert report.created == {}


def test_sizes_and_ranges(planted):
    assert planted.schema == TELECOM
    assert [planted.nodes(name).height for name in ("user", "product", "app")] == [2500, 200, 80]
    assert planted.events.height == 60_000
    assert planted.events["event_id"].n_unique() == 60_000
    assert planted.events["timestamp"].is_sorted()
    assert planted.events["timestamp"].max() < MIDDLE.end
    assert planted.products["name"].is_unique().all()
    assert planted.apps["name"].is_unique().all()
    assert 0.2 < planted.users["churn"].mean() < 0.4
    calls = planted.events.filter(pl.col("type") == "call")
    assert (calls["actor"] != calls["target"]).all()


def test_repeats_keep_the_pairs_below_the_events(planted):
    pairs = planted.events.select("type", "actor", "target").n_unique()
    assert planted.events.height / 5 < pairs < planted.events.height / 2.5


@pytest.mark.parametrize(("event", "target"), EVENTS)
def test_new_pairs_and_repeated_ones_after_a_cut(planted, event, target):
    of_type = planted.events.filter((pl.col("type") == event) & (pl.col("target_type") == target))
    late = pl.col("timestamp") > of_type["timestamp"].quantile(0.85)
    before = of_type.filter(~late).select("actor", "target").unique()
    after = of_type.filter(late).select("actor", "target").unique()
    repeated = after.join(before, on=["actor", "target"], how="semi").height / after.height
    assert 0.03 < repeated < 0.6


def ranks(tables, config, event, target):
    """Ranks of late targets by the hidden taste, and by popularity so far."""
    ids = {key: i for i, key in enumerate(tables.nodes(target)[f"{target}_id"])}
    users = {key: i for i, key in enumerate(tables.users["user_id"])}
    hidden = draw_population(config, np.random.default_rng(config.seed))
    of_type = tables.events.filter((pl.col("type") == event) & (pl.col("target_type") == target))
    cut = of_type["timestamp"].quantile(0.85)
    early, late = (
        of_type.filter(mask) for mask in (pl.col("timestamp") <= cut, pl.col("timestamp") > cut)
    )
    popular = np.bincount([ids[key] for key in early["target"]], minlength=len(ids))
    source = np.array([users[key] for key in late["actor"]])
    true = np.array([ids[key] for key in late["target"]])
    circle = hidden.circle[source]
    if target == "user":
        taste = (hidden.circle[None, :] == circle[:, None]).astype(float)
    else:
        taste = hidden.circle_taste[target][circle]
    found = []
    for score in (taste, np.tile(popular, (len(source), 1))):
        own = score[np.arange(len(true)), true][:, None]
        found.append((score > own).sum(1) + ((score == own).sum(1) + 1) / 2)
    return found


@pytest.mark.parametrize(("event", "target"), EVENTS)
def test_taste_beats_popularity_where_it_is_planted(planted, event, target):
    taste, popularity = ((1 / rank).mean() for rank in ranks(planted, MIDDLE, event, target))
    assert taste > 2 * popularity
    assert popularity > 1.2 * chance(planted.nodes(target).height)


@pytest.mark.parametrize(("event", "target"), EVENTS)
def test_nothing_predicts_links_where_none_is_planted(unplanted, event, target):
    for rank in ranks(unplanted, replace(MIDDLE, structure=False), event, target):
        middle = (unplanted.nodes(target).height + 1) / 2
        assert rank.mean() == pytest.approx(middle, rel=0.06)


def chance(count):
    """Mean reciprocal rank of a random order."""
    return (1 / np.arange(1, count + 1)).mean()


def churn_auc(tables, extra=None):
    users = tables.users.join(event_counts(tables), on="user_id", maintain_order="left")
    numbers = users.select("monthly_fee", "tenure_months", "event_counts.use").fill_null(0)
    x = (
        np.log1p(numbers.to_numpy())
        if extra is None
        else np.c_[np.log1p(numbers.to_numpy()), extra]
    )
    model = LogisticRegression(max_iter=500)
    p = cross_val_predict(model, x, users["churn"], cv=4, method="predict_proba")[:, 1]
    return roc_auc_score(users["churn"], p)


def test_churn_is_seen_by_attributes_and_better_with_the_graph(planted, unplanted):
    hidden = draw_population(MIDDLE, np.random.default_rng(MIDDLE.seed))
    community = np.eye(MIDDLE.communities)[hidden.community[hidden.circle]]
    alone, with_graph = churn_auc(planted), churn_auc(planted, community)
    assert alone > 0.65
    assert with_graph > alone + 0.05
    assert churn_auc(unplanted, community) < churn_auc(unplanted) + 0.01


def test_bad_configurations():
    for wrong in ({"users": 1}, {"apps": 0}, {"events": -1}, {"end": datetime(2025, 1, 1)}):  # noqa: DTZ001
        with pytest.raises(ValueError, match="expected"):
            SynthesisConfig(**wrong)


@pytest.mark.parametrize("events", [0, 1, 7])
def test_tiny_populations(events):
    config = SynthesisConfig(users=2, events=events, products=1, apps=1, communities=1, days=1)
    assert synthesize(config).events.height == events
    assert synthesize(replace(config, structure=False)).events.height == events
