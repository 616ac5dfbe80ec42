"""Training in the order of time with ages of edges, where interests move."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from drawn import START

from ml.data.schema import EdgeType, GraphSchema, NodeType
from ml.graph.graph import build_graph
from ml.graph.splits import split_graph
from ml.hgt.heldout import evaluate_links
from ml.hgt.training import Stopped, TrainingConfig, train

SCHEMA = GraphSchema((NodeType("user"), NodeType("app")), (EdgeType("user", "uses", "app", "use"),))
USERS, APPS, GROUPS, EVENTS = 300, 120, 6, 24
DAYS, PERIOD = 400, 100
IN_TIME = TrainingConfig(epochs=15, batch_size=300, temporal=True)
AGEING = replace(IN_TIME, edge_ages=(7.0, 30.0, 60.0, 120.0))


def moving(seed):
    """Every 100 days, each on another day, a user turns to the apps of another group."""
    generator = np.random.default_rng(seed)
    rows = []
    for user in range(USERS):
        turns = generator.integers(GROUPS, size=DAYS // PERIOD + 2)
        first = generator.integers(PERIOD)
        for day in np.sort(generator.integers(DAYS, size=EVENTS)).tolist():
            group = turns[(day + first) // PERIOD]
            app = group * (APPS // GROUPS) + generator.integers(APPS // GROUPS)
            rows.append((f"u{user}", f"a{app}", START + timedelta(days=day)))
    actor, target, timestamp = zip(*rows, strict=True)
    events = pl.DataFrame(
        {
            "event_id": [str(i) for i in range(len(rows))], "type": "use",
            "timestamp": pl.Series(timestamp, dtype=pl.Datetime("us", "UTC")),
            "actor": actor, "target": target, "target_type": "app",
        }
    )  # fmt: skip
    users = pl.DataFrame({"user_id": [f"u{i}" for i in range(USERS)]})
    apps = pl.DataFrame({"app_id": [f"a{i}" for i in range(APPS)]})
    return build_graph(SimpleNamespace(schema=SCHEMA, events=events, users=users, apps=apps))


def new_links(config, seed):
    """Mean reciprocal rank of held-out apps that the user has not used before."""
    split = split_graph(moving(seed))
    report = evaluate_links(train(split.train, replace(config, seed=seed)), split, seed=seed).report
    return report["edge_types"]["user-uses-app"]["slices"]["new"]["model"]["mrr"]


def test_ages_tell_what_a_user_is_interested_in_now():
    """Old edges and new ones differ in nothing else, so the same network can't tell without."""
    ageless = np.mean([new_links(IN_TIME, seed) for seed in range(2)])
    ageing = np.mean([new_links(AGEING, seed) for seed in range(2)])
    assert ageing > 1.3 * ageless


def test_a_run_with_ages_goes_on_from_its_checkpoint():
    graph, config = moving(0), replace(AGEING, epochs=2)
    whole, kept = train(graph, config), []
    with pytest.raises(Stopped):
        train(graph, config, save_checkpoint=kept.append, should_stop=lambda: bool(kept))
    resumed = train(graph, config, checkpoint=kept[-1])
    assert resumed.history == whole.history
    for name, weight in whole.model.state_dict().items():
        assert np.array_equal(resumed.model.state_dict()[name], weight), name
    with pytest.raises(ValueError, match="start without it"):
        train(graph, replace(config, edge_ages=(7.0,)), checkpoint=kept[-1])
