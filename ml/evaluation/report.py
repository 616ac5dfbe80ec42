"""Held-out links: the model beside the baselines, edge type by edge type."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ml.contracts.schema import EdgeKey, EdgeType
from ml.evaluation.baselines import EaseConfig, ease, item_knn, popularity, repeat
from ml.evaluation.link_notes import link_notes
from ml.evaluation.metrics import Scorer
from ml.evaluation.queries import Queries, draw_queries
from ml.evaluation.ranking import TOP, list_metrics, pair_metrics, rank_metrics, rank_queries
from ml.graph.splits import Split

MAX_EVALUATED = 5000
MAX_SCORES = 1_000_000_000
BASELINES = ("popularity", "repeat", "item_knn", "ease")
PROTOCOL = (
    "each held-out pair is ranked among all nodes of the target type without the source's other "
    "held-out targets (and, in data without times, without its known ones); ties get the mean "
    f"rank. user_ndcg@{TOP} and user_recall@{TOP}: the list that a source is shown, with all its "
    "held-out targets as relevant ones, averaged over sources (in data without times the list "
    "leaves out the known ones). The slice 'new' ranks without what the source had before; 'cold' "
    "counts the distinct targets that it had"
)
NEGATIVES = {
    "random": "1 a pair, uniform over the target type, without the source's held-out targets (and, "
    "in data without times, without its known ones); pairs of sources that have every target are "
    "left out",
    "historical": "1 a pair, uniform over the targets that the source had before and that are not "
    "held out; pairs of sources without any are left out; only in data with times",
}


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
        max_evaluated: Beyond so many distinct held-out pairs of one type, or ``MAX_SCORES`` over
            the number of targets, sources are drawn (seeded), each with all of its pairs.

    Returns:
        ``{"edge_types": {name: {"model": {...}, "popularity": ..., "repeat": ..., "item_knn": ...,
        "ease": ..., "slices": {"repeat"|"new"|"cold ...": {method: {...}, "evaluated"}},
        "left_out", "held_out", "evaluated", "historical", "split"}}, "mean": ..., "notes":
        [sentences where a baseline is better than the model], "protocol", "negatives", "seed"}``.
    """
    types = {
        edge.name: _edge_report(split, edge, model[edge.key], queries)
        for edge, queries in all_queries(split, max_evaluated=max_evaluated, seed=seed)
    }
    measured = [row for row in types.values() if row["evaluated"]]
    mean = {method: _mean([row[method] for row in measured]) for method in ("model", *BASELINES)}
    notes = [note for name, row in types.items() for note in link_notes(name, row, BASELINES)]
    about = {"notes": notes, "protocol": PROTOCOL, "negatives": NEGATIVES, "seed": seed}
    return {"edge_types": types, "mean": mean if measured else {}, **about}


def all_queries(
    split: Split, *, max_evaluated: int = MAX_EVALUATED, seed: int = 0
) -> Iterator[tuple[EdgeType, Queries]]:
    """What is asked about each edge type: the same for the same split and seed."""
    generator = np.random.default_rng(seed)
    for edge in split.observed.schema.edges:
        targets = split.observed.num_nodes[edge.target]
        limit = min(max_evaluated, MAX_SCORES // max(targets, 1))
        yield edge, draw_queries(split, edge, limit=limit, generator=generator)


def _edge_report(split: Split, edge: EdgeType, model: Scorer, queries: Queries) -> dict[str, Any]:
    nodes = split.observed.num_nodes
    sources, targets = nodes[edge.source], nodes[edge.target]
    about = {
        "split": split.method[edge.key],
        "held_out": queries.held_out,
        "evaluated": 0,
        "historical": 0,
        "left_out": {},
    }
    if not len(queries) or targets < 2:
        return {**{key: {} for key in ("model", *BASELINES)}, "slices": {}, **about}
    known = queries.known
    scorers: dict[str, Scorer | None] = {
        "model": model,
        "popularity": popularity(known, targets),
        "repeat": repeat(known, sources, targets),
        "item_knn": item_knn(known, sources, targets),
        "ease": ease(known, sources, targets),
    }
    report: dict[str, Any] = {}
    slices: dict[str, Any] = {
        name: {"evaluated": int(rows.sum())} for name, rows in queries.slices.items()
    }
    for name, score in scorers.items():
        if score is None:
            report[name] = {}
            continue
        whole, parts = _measure(score, queries, without_self=edge.source == edge.target)
        report[name] = whole
        for part, values in parts.items():
            slices[part][name] = values
    about["left_out"] = _left_out(targets, len(known))
    about |= {"evaluated": len(queries), "historical": int(queries.has_historical.sum())}
    return {**report, "slices": slices, **about}


def _measure(
    score: Scorer, queries: Queries, *, without_self: bool
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """All metrics of one scorer, and those of each slice."""
    found = rank_queries(
        score, queries.src, queries.dst, removed=queries.removed, without_self=without_self,
        others={"random": queries.random, "historical": queries.historical},
    )  # fmt: skip
    ranks = found.places["filtered"].ranks
    new, old = queries.has_random, queries.has_historical
    whole = (
        rank_metrics(ranks)
        | list_metrics(queries.src, found.places["list"])
        | pair_metrics(found.value[new], found.others["random"][new])
        | pair_metrics(found.value[old], found.others["historical"][old], "_historical")
    )
    parts = {}
    for name, rows in queries.slices.items():
        of = found.places["new"].ranks if name == "new" else ranks
        parts[name] = rank_metrics(of[rows])
    return whole, parts


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    """Unweighted mean of the metrics that every row has."""
    names = [name for name in (rows[0] if rows else {}) if all(name in row for row in rows)]
    return {name: float(np.mean([row[name] for row in rows])) for name in names}


def _left_out(targets: int, pairs: int) -> dict[str, str]:
    """Why a baseline says nothing, or nothing of some targets."""
    if not pairs:
        return {"ease": "left out, as nothing is known to fit it on"}
    fitted = EaseConfig().max_targets
    if targets > fitted:
        return {"ease": f"of {targets:,} targets the {fitted:,} most popular are fitted"}
    return {}
