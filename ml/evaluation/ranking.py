"""Where true targets stand among all candidates, and what is made of that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.evaluation.metrics import Floats, Ints, Neighbours, Scorer, auc, average_precision

CELLS = 2**24
"""Scores that are looked at at once: 64 MiB."""
TOP = 10
"""Length of the list that a source is shown."""


@dataclass(frozen=True)
class Places:
    """Where true targets stand.

    Args:
        better: Candidates with a higher score. Shape: [Q].
        equal: Candidates with the same score, the target itself included. Shape: [Q].
    """

    better: Ints
    equal: Ints

    @property
    def ranks(self) -> npt.NDArray[np.float64]:
        """Rank of each target, 1 being the best; ties get their mean rank. Shape: [Q]."""
        return np.asarray(self.better + (self.equal + 1) / 2, np.float64)


@dataclass(frozen=True)
class Ranked:
    """One scorer's answer to some queries.

    Args:
        places: By the name of what was taken out. Shapes: [Q].
        value: Score of the true targets. Shape: [Q].
        others: Score of other targets, by name. Shapes: [Q].
    """

    places: Mapping[str, Places]
    value: Floats
    others: Mapping[str, Floats]


def rank_queries(
    score: Scorer,
    src: Ints,
    dst: Ints,
    *,
    removed: Mapping[str, Neighbours | None],
    others: Mapping[str, Ints] | None = None,
    without_self: bool = False,
    block: int | None = None,
) -> Ranked:
    """Rank true targets among all nodes of their type, in one pass over the scores.

    Args:
        src: Shape: [Q].
        dst: Shape: [Q].
        removed: Ways to rank: which targets of a source are no candidates. The true target always
            is one. None: all are.
        others: Targets whose score by the same source is wanted as well. Shapes: [Q].
        without_self: Take the source itself out, where both ends have one type.
        block: Sources scored at once; by default as many as bound the memory.

    Raises:
        ValueError: if a score is not a number.
    """
    block = block or _sources_at_once(score, src)
    better = {name: np.zeros(len(src), np.int64) for name in removed}
    equal = {name: np.ones(len(src), np.int64) for name in removed}
    value = np.empty(len(src))
    aside = {name: np.empty(len(src)) for name in others or {}}
    sources, row_of = np.unique(src, return_inverse=True)
    order = np.argsort(row_of, kind="stable")
    bounds = np.searchsorted(row_of[order], np.arange(0, len(sources) + block, block))
    for number, first in enumerate(range(0, len(sources), block)):
        queries = order[bounds[number] : bounds[number + 1]]
        scores = _checked(score(sources[first : first + block]))
        row = row_of[queries] - first
        value[queries] = scores[row, dst[queries]]
        for name, other in (others or {}).items():
            aside[name][queries] = scores[row, other[queries]]
        for part in range(0, len(queries), block):
            some = queries[part : part + block]
            for name, (more, same) in _places(
                scores[row[part : part + block]], src[some], dst[some], removed, without_self
            ).items():
                better[name][some], equal[name][some] = more, same
    return Ranked({n: Places(better[n], equal[n]) for n in removed}, value, aside)


def _places(
    scores: Floats,
    src: Ints,
    dst: Ints,
    removed: Mapping[str, Neighbours | None],
    without_self: bool,
) -> dict[str, tuple[Ints, Ints]]:
    """Candidates above and level with each true target: all targets, less those taken out.

    Shapes: [q, N], [q], [q] → [q], [q].
    """
    rows = np.arange(len(src))
    mine = scores[rows, dst]
    above = np.count_nonzero(scores > mine[:, None], axis=1)
    level = np.count_nonzero(scores == mine[:, None], axis=1)
    if without_self:
        other, itself = src != dst, scores[rows, src]
        above, level = above - (other & (itself > mine)), level - (other & (itself == mine))
    counts_of = {}
    for name, gone in removed.items():
        more, same = above, level
        if gone is not None:
            query, target = gone.rows(src)
            counts = target != dst[query]
            if without_self:
                counts &= target != src[query]
            query, target = query[counts], target[counts]
            out = scores[query, target]
            more = above - np.bincount(query[out > mine[query]], minlength=len(src))
            same = level - np.bincount(query[out == mine[query]], minlength=len(src))
        counts_of[name] = (more, same)
    return counts_of


def _sources_at_once(score: Scorer, src: Ints) -> int:
    """At most ``CELLS`` scores, up to 512 sources."""
    targets = score(src[:1]).shape[1] if len(src) else 1
    return max(1, min(512, CELLS // max(targets, 1)))


def _checked(scores: Floats) -> Floats:
    if scores.size and np.isnan(scores.min()):
        raise ValueError("a score is not a number: such a model cannot be ranked, train it anew")
    return scores


def rank_metrics(ranks: npt.NDArray[np.float64]) -> dict[str, float]:
    """MRR, Hits@1, Hits@10, Recall@20, NDCG@10 and NDCG@20 of single true targets.

    With one true target a query, Recall@k is Hits@k and NDCG@k is 1 / log2(1 + rank) up to k.
    """
    if not len(ranks):
        return {}
    gain = 1 / np.log2(1 + ranks)
    return {
        "mrr": float((1 / ranks).mean()),
        "hits@1": float((ranks <= 1).mean()),
        "hits@10": float((ranks <= 10).mean()),
        "recall@20": float((ranks <= 20).mean()),
        "ndcg@10": float(np.where(ranks <= 10, gain, 0.0).mean()),
        "ndcg@20": float(np.where(ranks <= 20, gain, 0.0).mean()),
    }


def list_metrics(src: Ints, places: Places, *, k: int = TOP) -> dict[str, float]:
    """NDCG@k and Recall@k of the list that each source is shown, averaged over the sources.

    Relevance is 0 or 1. NDCG divides by the best list that the source's own true targets could
    make; Recall divides by their number. Targets that share a score take the places of the tie in
    random order: this is the mean over those orders.

    Args:
        src: Source of each true target; all true targets of a source must be there. Shape: [Q].
        places: Among candidates that include the source's other true targets.
    """
    if not len(src):
        return {}
    gains = np.r_[0.0, np.cumsum(1 / np.log2(1 + np.arange(1, k + 1)))]
    first, last = np.minimum(places.better, k), np.minimum(places.better + places.equal, k)
    _, row, size = np.unique(src, return_inverse=True, return_counts=True)
    dcg = np.bincount(row, (gains[last] - gains[first]) / places.equal)
    hits = np.bincount(row, (last - first) / places.equal)
    return {
        f"user_ndcg@{k}": float((dcg / gains[np.minimum(size, k)]).mean()),
        f"user_recall@{k}": float((hits / size).mean()),
    }


def pair_metrics(value: Floats, other: Floats, name: str = "") -> dict[str, float]:
    """AUC and AP of true targets against one negative each. Shapes: [Q], [Q].

    Args:
        name: Appended to the names of the metrics: what kind of negatives these are.
    """
    if not len(value):
        return {}
    target: npt.NDArray[Any] = np.r_[np.ones(len(value)), np.zeros(len(other))]
    both = np.r_[value, other]
    return {f"auc{name}": auc(target, both), f"ap{name}": average_precision(target, both)}
