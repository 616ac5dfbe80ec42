"""Folds, windows of time, and windows of time with ages of edges, on the same held-out links.

python -m benchmarks.temporal
python -m benchmarks.temporal --messages CollegeMsg.txt --no-header

What is measured is the validation part of each of the data; the test part is not read.
"""

import argparse
import statistics
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from benchmarks.interactions import columns_of, graph_of, read_interactions
from benchmarks.protocols import WRITES
from ml.contracts.schema import EdgeType, GraphSchema, NodeType
from ml.data.synthesis import SynthesisConfig, synthesize
from ml.graph.graph import Graph, build_graph
from ml.graph.splits import split_graph
from ml.hgt.heldout import evaluate_links
from ml.hgt.model import EDGE_AGES
from ml.hgt.training.train import TrainingConfig, train

START = datetime(2025, 1, 1, tzinfo=UTC)
USES = EdgeType("user", "uses", "app", "use")
HOW: dict[str, dict[str, Any]] = {
    "folds": {},
    "time": {"temporal": True},
    "time, ages": {"temporal": True, "edge_ages": EDGE_AGES},
}
COLUMNS = ("mrr", "mrr new", "auc")


def moving_interests(
    seed: int, *, users: int = 1000, apps: int = 120, groups: int = 6, events: int = 24
) -> Graph:
    """Users who turn to the apps of another group every 100 of 400 days, each on another day.

    What a user does now differs from what it did before in nothing but its time.
    """
    days, period, size = 400, 100, apps // groups
    generator = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        turns = generator.integers(groups, size=days // period + 2)
        first = generator.integers(period)
        for day in np.sort(generator.integers(days, size=events)).tolist():
            app = turns[(day + first) // period] * size + generator.integers(size)
            rows.append((f"u{user}", f"a{app}", START + timedelta(days=day)))
    actor, target, timestamp = zip(*rows, strict=True)
    frame = pl.DataFrame(
        {
            "event_id": [str(i) for i in range(len(rows))], "type": USES.event,
            "timestamp": pl.Series(timestamp, dtype=pl.Datetime("us", "UTC")),
            "actor": actor, "target": target, "target_type": "app",
        }
    )  # fmt: skip
    schema = GraphSchema((NodeType("user"), NodeType("app")), (USES,))
    nodes = {
        "users": pl.DataFrame({"user_id": [f"u{i}" for i in range(users)]}),
        "apps": pl.DataFrame({"app_id": [f"a{i}" for i in range(apps)]}),
    }
    return build_graph(SimpleNamespace(schema=schema, events=frame, **nodes))


def measure(graph: Graph, config: TrainingConfig) -> dict[str, float]:
    """Means over edge types of the model's figures on held-out links."""
    split = split_graph(graph, seed=config.seed)
    report = evaluate_links(train(split.train, config), split, seed=config.seed).report
    rows = report.edge_types.values()
    return {
        "mrr": mean_of(row.model.mrr for row in rows),
        "mrr new": mean_of(row.slices["new"].model.mrr for row in rows),
        "auc": mean_of(row.model.auc for row in rows),
    }


def mean_of(figures: Iterable[float | None]) -> float:
    """Raises: ValueError if a figure was not measured."""
    values = list(figures)
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        raise ValueError(f"figures are {values}, expected each to be measured")
    return statistics.mean(known)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--messages", type=Path, help="measure these: from, to, time (seconds)")
    parser.add_argument("--no-header", dest="header", action="store_false")
    args = parser.parse_args()
    graphs = {
        "synthetic population 11": build_graph(synthesize(SynthesisConfig(seed=11))),
        "moving interests 11": moving_interests(11),
    }
    if args.messages:
        columns = columns_of(args.messages, header=args.header)[:3]
        frame = read_interactions(args.messages, columns, header=args.header)
        graphs = {args.messages.name: graph_of(frame, WRITES)}
    print("data", "trained in", "seed", *COLUMNS, sep="\t")
    for name, graph in graphs.items():
        known = split_graph(graph).observed
        for how, options in HOW.items():
            rows = [measure(known, TrainingConfig(seed=seed, **options)) for seed in args.seeds]
            for seed, row in zip(args.seeds, rows, strict=True):
                show(name, how, str(seed), row)
            show(name, how, "mean", {k: statistics.mean(row[k] for row in rows) for k in COLUMNS})


def show(name: str, how: str, seed: str, row: dict[str, float]) -> None:
    print(name, how, seed, *(f"{row[column]:.4f}" for column in COLUMNS), sep="\t", flush=True)


if __name__ == "__main__":
    main()
