"""Held-out links: the model beside the baselines, edge type by edge type."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ml.contracts.reports.links import EdgeTypeReport, LinkReport, LinkSlice, Methods
from ml.contracts.reports.metrics import LinkMetrics
from ml.contracts.schema import EdgeKey, EdgeType
from ml.evaluation.baselines import EaseConfig, ease, item_knn, popularity, repeat
from ml.evaluation.link_notes import link_notes
from ml.evaluation.metrics import Scorer
from ml.evaluation.queries import Queries, draw_queries
from ml.evaluation.ranking import TOP, list_metrics, pair_metrics, rank_metrics, rank_queries
from ml.graph.splits import Split

MAX_EVALUATED = 5000
MAX_SCORES = 1_000_000_000
MODEL = "model"
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
) -> LinkReport:
    """Metrics of the test part by name of the edge type, and their unweighted mean.

    Args:
        model: Scores by edge type, from what was known at the test cut.
        max_evaluated: Beyond so many distinct held-out pairs of one type, or ``MAX_SCORES`` over
            the number of targets, sources are drawn (seeded), each with all of its pairs.
    """
    types = {
        edge.name: _edge_report(split, edge, model[edge.key], queries)
        for edge, queries in all_queries(split, max_evaluated=max_evaluated, seed=seed)
    }
    return LinkReport(
        edge_types=types,
        mean=_mean([row for row in types.values() if row.evaluated]),
        notes=[note for name, row in types.items() for note in link_notes(name, row)],
        protocol=PROTOCOL,
        negatives=NEGATIVES,
        seed=seed,
    )


def all_queries(
    split: Split, *, max_evaluated: int = MAX_EVALUATED, seed: int = 0
) -> Iterator[tuple[EdgeType, Queries]]:
    """What is asked about each edge type: the same for the same split and seed."""
    generator = np.random.default_rng(seed)
    for edge in split.observed.schema.edges:
        targets = split.observed.num_nodes[edge.target]
        limit = min(max_evaluated, MAX_SCORES // max(targets, 1))
        yield edge, draw_queries(split, edge, limit=limit, generator=generator)


def _edge_report(split: Split, edge: EdgeType, model: Scorer, queries: Queries) -> EdgeTypeReport:
    nodes = split.observed.num_nodes
    sources, targets = nodes[edge.source], nodes[edge.target]
    how = split.method[edge.key]
    if not len(queries) or targets < 2:
        return EdgeTypeReport(
            split=how,
            held_out=queries.held_out,
            evaluated=0,
            slices={},
            model=LinkMetrics(),
            popularity=LinkMetrics(),
            repeat=LinkMetrics(),
            item_knn=LinkMetrics(),
            ease=LinkMetrics(),
        )
    known = queries.known
    scorers: dict[str, Scorer | None] = {
        MODEL: model,
        "popularity": popularity(known, targets),
        "repeat": repeat(known, sources, targets),
        "item_knn": item_knn(known, sources, targets),
        "ease": ease(known, sources, targets),
    }
    measures = {
        name: _measure(score, queries, without_self=edge.source == edge.target)
        for name, score in scorers.items()
        if score is not None
    }
    slices = {
        part: LinkSlice(
            evaluated=int(rows.sum()),
            **{name: by_slice[part] for name, (_, by_slice) in measures.items()},
        )
        for part, rows in queries.slices.items()
    }
    whole = {name: metrics for name, (metrics, _) in measures.items()}
    return EdgeTypeReport(
        split=how,
        held_out=queries.held_out,
        evaluated=len(queries),
        historical=int(queries.has_historical.sum()),
        left_out=_left_out(targets, len(known)),
        slices=slices,
        model=whole[MODEL],
        popularity=whole["popularity"],
        repeat=whole["repeat"],
        item_knn=whole["item_knn"],
        ease=whole.get("ease", LinkMetrics()),
    )


def _measure(
    score: Scorer, queries: Queries, *, without_self: bool
) -> tuple[LinkMetrics, dict[str, LinkMetrics]]:
    """All metrics of one scorer, and those of each slice."""
    ranked = rank_queries(
        score, queries.src, queries.dst, removed=queries.removed, without_self=without_self,
        others={"random": queries.random, "historical": queries.historical},
    )  # fmt: skip
    ranks = ranked.places["filtered"].ranks
    new, old = queries.has_random, queries.has_historical
    whole = (
        rank_metrics(ranks)
        | list_metrics(queries.src, ranked.places["list"])
        | pair_metrics(ranked.value[new], ranked.others["random"][new])
        | pair_metrics(ranked.value[old], ranked.others["historical"][old], "_historical")
    )
    parts = {}
    for name, rows in queries.slices.items():
        of = ranked.places["new"].ranks if name == "new" else ranks
        parts[name] = LinkMetrics.from_dict(rank_metrics(of[rows]))
    return LinkMetrics.from_dict(whole), parts


def _mean(rows: Sequence[EdgeTypeReport]) -> Methods:
    """The unweighted mean of each method's metrics, of those that every row has."""
    if not rows:
        return Methods()
    measured = [row.measured() for row in rows]
    return Methods(
        **{
            method: _mean_metrics([row.get(method, LinkMetrics()) for row in measured])
            for method in (MODEL, *BASELINES)
        }
    )


def _mean_metrics(rows: Sequence[LinkMetrics]) -> LinkMetrics:
    values = [row.known() for row in rows]
    names = [name for name in values[0] if all(name in row for row in values)]
    return LinkMetrics(**{name: float(np.mean([row[name] for row in values])) for name in names})


def _left_out(targets: int, pairs: int) -> dict[str, str]:
    """Why a baseline says nothing, or nothing of some targets."""
    if not pairs:
        return {"ease": "left out, as nothing is known to fit it on"}
    fitted = EaseConfig().max_targets
    if targets > fitted:
        return {"ease": f"of {targets:,} targets the {fitted:,} most popular are fitted"}
    return {}
