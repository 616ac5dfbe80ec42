"""What added events change on a synthetic population: the same held-out links, with and without.

python -m benchmarks.augmenting --users 2000 --events 30000 --seeds 7 8 9
"""

import argparse
import statistics
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from ml.contracts.reports.links import EdgeTypeReport
from ml.data.frames import Tables
from ml.data.synthesis import SynthesisConfig, synthesize
from ml.graph.graph import build_graph
from ml.graph.splits import split_graph, with_added
from ml.hgt.heldout import evaluate_links
from ml.hgt.training.train import TrainingConfig, train
from ml.optimizing.added import separate
from ml.optimizing.optimization import optimize

LATER = datetime(2100, 1, 1, tzinfo=UTC)
COLUMNS = ("mrr", "recall@20", "cold 0", "cold 1-4", "cold 5+")
"""The last three are MRR of a slice."""


def measure(tables: Tables, factor: float, seed: int) -> dict[str, float]:
    """Added events, and the means over edge types of the model's held-out metrics.

    Args:
        factor: Of every edge type; 1 adds nothing.
    """
    names = [edge.name for edge in tables.schema.edges] if factor > 1 else []
    actions = [{"action": "augment", "edge_type": name, "factor": factor} for name in names]
    real, added = separate(optimize(tables, actions, seed, now=LATER)[0])
    graph = build_graph(real)
    split = split_graph(graph, seed=seed)
    trained = train(with_added(split, graph.edges_of(added)), TrainingConfig(seed=seed))
    report = evaluate_links(trained, split, seed=seed).report
    return {"added": added.height, **mean_metrics(report.edge_types.values())}


def mean_metrics(edge_types: Iterable[EdgeTypeReport]) -> dict[str, float]:
    values: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for row in edge_types:
        measured = {"mrr": row.model.mrr, "recall@20": row.model.recall_at_20}
        measured |= {name: part.model.mrr for name, part in row.slices.items()}
        for name in COLUMNS:
            value = measured.get(name)
            if value is not None:
                values[name].append(value)
    return {name: statistics.mean(of) for name, of in values.items() if of}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--factors", type=float, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    args = parser.parse_args()
    print("factor", "seed", "added", *COLUMNS, sep="\t")
    for factor in args.factors:
        rows = []
        for seed in args.seeds:
            config = SynthesisConfig(
                users=args.users, events=args.events, products=200, apps=80, seed=seed
            )
            rows.append(measure(synthesize(config), factor, seed))
            show(f"{factor:g}\t{seed}", rows[-1])
        show(f"{factor:g}\tmean", means(rows))


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Over the rows that have the figure: a slice without pairs has none."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: statistics.mean(row[name] for row in rows if name in row) for name in names}


def show(head: str, row: Mapping[str, float]) -> None:
    numbers = [f"{row[name]:.3f}" if name in row else "" for name in COLUMNS]
    print(head, f"{row['added']:.0f}", *numbers, sep="\t", flush=True)


if __name__ == "__main__":
    main()
