"""The model's answers to the held-out questions, pair by pair."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.contracts.reports.links import EdgeTypeReport, LinkReport
from ml.contracts.schema import EdgeKey, EdgeType
from ml.evaluation.metrics import Ints, Neighbours, Scorer
from ml.evaluation.queries import Queries
from ml.evaluation.ranking import rank_queries
from ml.evaluation.report import all_queries
from ml.graph.splits import Split

WAYS = ("filtered", "new")


OnProgress = Callable[[float, str], None]
"""Told a share from 0 to 1 and what comes next; may raise to stop."""


class OtherData(ValueError):
    """The held-out pairs are not those that the model was measured on."""


@dataclass(frozen=True)
class Answers:
    """Where the model put the held-out pairs of one edge type.

    Args:
        ranks: 1 is the best; ties get their mean rank. Shape: [Q].
        ranks_new: Among the targets that are new to the source. Shape: [Q].
        candidates: How many targets each pair was ranked among, itself included. Shape: [Q].
    """

    edge: EdgeType
    queries: Queries
    ranks: npt.NDArray[np.float64]
    ranks_new: npt.NDArray[np.float64]
    candidates: Ints


def answer(
    split: Split,
    model: Mapping[EdgeKey, Scorer],
    measured: LinkReport,
    *,
    on_progress: OnProgress | None = None,
) -> list[Answers]:
    """Ask what the link report of the training asked, and keep every answer.

    Args:
        model: Scores by edge type, from what was known at the test cut.
        measured: That link report, which says with which seed it asked.
        on_progress: Told before each edge type what share is done.

    Returns:
        One a measured edge type, in the order of the schema.

    Raises:
        OtherData: if the split holds out other pairs than the report says.
    """
    answers = []
    edges = len(split.observed.schema.edges)
    for number, (edge, queries) in enumerate(all_queries(split, seed=measured.seed)):
        if on_progress is not None:
            on_progress(number / edges, f"asking for held-out links of {edge.name}")
        _check(edge, queries, measured.edge_types.get(edge.name))
        targets = split.observed.num_nodes[edge.target]
        if not len(queries) or targets < 2:
            continue
        itself = edge.source == edge.target
        ranked = rank_queries(
            model[edge.key], queries.src, queries.dst,
            removed={way: queries.removed[way] for way in WAYS}, without_self=itself,
        )  # fmt: skip
        candidates = count_candidates(queries, targets, without_self=itself)
        ranks, new = (ranked.places[way].ranks for way in WAYS)
        answers.append(Answers(edge, queries, ranks, new, candidates))
    return answers


def count_candidates(queries: Queries, targets: int, *, without_self: bool) -> Ints:
    """How many targets each pair is ranked among. Shape: [Q]."""
    count = np.full(len(queries), targets, np.int64)
    if without_self:
        count -= queries.src != queries.dst
    removed: Neighbours | None = queries.removed["filtered"]
    if removed is not None:
        query, target = removed.rows(queries.src)
        gone = target != queries.dst[query]
        if without_self:
            gone &= target != queries.src[query]
        count -= np.bincount(query[gone], minlength=len(queries))
    return count


def _check(edge: EdgeType, queries: Queries, row: EdgeTypeReport | None) -> None:
    held_out = None if row is None else row.held_out
    if queries.held_out != held_out:
        raise OtherData(
            f"{edge.name} has {queries.held_out} held-out pairs, the model was measured on "
            f"{held_out}: evaluate it on the graph it was trained on"
        )
