"""Held-out links: the model beside the baselines, edge type by edge type."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ml.data.schema import EdgeKey, EdgeType
from ml.evaluation.baselines import item_knn, popularity, repeat
from ml.evaluation.metrics import (
    Ints,
    Neighbours,
    Scorer,
    auc,
    average_precision,
)
from ml.evaluation.ranking import filtered_ranks, rank_metrics
from ml.graph.graph import Edges, Pairs, distinct_pairs
from ml.graph.splits import AT_RANDOM, Split

MAX_EVALUATED = 5000
BASELINES = ("popularity", "repeat", "item_knn")
PROTOCOL = (
    "each held-out pair is ranked among all nodes of the target type without the source's other "
    "held-out targets (and, in data without times, without its known ones); ties get the mean "
    "rank. AUC and AP: against one random target a pair, drawn from the same candidates. The slice "
    "'new' also takes out what the source had before."
)


def link_report(
    split: Split,
    model: Mapping[EdgeKey, Scorer],
    *,
    max_evaluated: int = MAX_EVALUATED,
    seed: int = 0,
) -> dict[str, Any]:
    """Metrics of the test part by name of the edge type, and their unweighted mean.

    Args:
        model: Scores by edge type, from what was known at the test cut.
        max_evaluated: Distinct held-out pairs of one type beyond this are drawn (seeded).

    Returns:
        ``{"edge_types": {name: {"model": {...}, "popularity": ..., "repeat": ..., "item_knn": ...,
        "slices": {"repeat"|"new": {...}}, "held_out", "evaluated", "split"}}, "mean": ...,
        "notes": [sentences where a baseline ranks better than the model], "protocol", "seed"}``.
    """
    generator = np.random.default_rng(seed)
    types = {}
    for edge in split.observed.schema.edges:
        types[edge.name] = _edge_report(split, edge, model[edge.key], max_evaluated, generator)
    measured = [row for row in types.values() if row["evaluated"]]
    methods = ("model", *BASELINES)
    mean = {
        method: {
            name: float(np.mean([row[method][name] for row in measured]))
            for name in measured[0][method]
        }
        for method in methods
        if measured
    }
    notes = [note for name, row in types.items() for note in rank_notes(name, row)]
    about = {"notes": notes, "protocol": PROTOCOL, "seed": seed}
    return {"edge_types": types, "mean": mean, **about}


def rank_notes(name: str, row: Mapping[str, Any]) -> list[str]:
    """A sentence for each baseline whose MRR, as shown with three digits, beats the model's."""
    if not row["evaluated"]:
        return []
    mrr = {method: round(row[method]["mrr"], 3) for method in ("model", *BASELINES)}
    return [
        f"{name}: {method} ranks better than the model: MRR {mrr[method]:.3f} against "
        f"{mrr['model']:.3f}"
        for method in BASELINES
        if mrr[method] > mrr["model"]
    ]


def _edge_report(
    split: Split, edge: EdgeType, model: Scorer, limit: int, generator: np.random.Generator
) -> dict[str, Any]:
    nodes = split.observed.num_nodes
    sources, targets = nodes[edge.source], nodes[edge.target]
    known = split.observed.pairs(edge.key)
    held = distinct_pairs(split.test[edge.key], targets)
    about = {"split": split.method[edge.key], "held_out": len(held), "evaluated": 0}
    if not len(held) or targets < 2:
        return {"model": {}, "popularity": {}, "repeat": {}, "item_knn": {}, "slices": {}, **about}
    chosen = np.sort(generator.permutation(len(held))[:limit])
    src, dst = held.src[chosen], held.dst[chosen]
    is_known = np.isin(src * targets + dst, known.src * targets + known.dst)
    both = distinct_pairs(_edges(known).join(_edges(held)), targets)
    untimed = split.method[edge.key] == AT_RANDOM
    everything = Neighbours.of(both.src, both.dst, sources)
    others = everything if untimed else Neighbours.of(held.src, held.dst, sources)
    scorers = {
        "model": model,
        "popularity": popularity(known, targets),
        "repeat": repeat(known, sources, targets),
        "item_knn": item_knn(known, sources, targets),
    }
    negative = _negatives(src, both if untimed else held, targets, generator)
    same = edge.source == edge.target
    report: dict[str, Any] = {}
    slices: dict[str, Any] = {
        "repeat": {"evaluated": int(is_known.sum())},
        "new": {"evaluated": int((~is_known).sum())},
    }
    for name, score in scorers.items():
        ranks = filtered_ranks(score, src, dst, excluded=others, without_self=same)
        report[name] = rank_metrics(ranks) | _pair_metrics(score, src, dst, negative)
        slices["repeat"][name] = rank_metrics(ranks[is_known])
        new = filtered_ranks(
            score, src[~is_known], dst[~is_known], excluded=everything, without_self=same
        )
        slices["new"][name] = rank_metrics(new)
    return {**report, "slices": slices, **about, "evaluated": len(src)}


def _edges(pairs: Pairs) -> Edges:
    return Edges(pairs.src, pairs.dst)


def _negatives(src: Ints, true: Pairs, targets: int, generator: np.random.Generator) -> Ints:
    """A random target for each source that is not in ``true``, as far as ten draws find one.

    Shape: [Q].
    """
    known = true.src * targets + true.dst
    negative = generator.integers(0, targets, len(src))
    for _ in range(10):
        wrong = np.isin(src * targets + negative, known)
        if not wrong.any():
            break
        negative[wrong] = generator.integers(0, targets, int(wrong.sum()))
    return negative


def _pair_metrics(score: Scorer, src: Ints, dst: Ints, negative: Ints) -> dict[str, float]:
    positive, other = np.empty(len(src)), np.empty(len(src))
    for first in range(0, len(src), 512):
        part = slice(first, first + 512)
        scores = score(src[part])
        rows = np.arange(len(scores))
        positive[part], other[part] = scores[rows, dst[part]], scores[rows, negative[part]]
    target = np.r_[np.ones(len(src)), np.zeros(len(src))]
    both = np.r_[positive, other]
    return {"auc": auc(target, both), "ap": average_precision(target, both)}
