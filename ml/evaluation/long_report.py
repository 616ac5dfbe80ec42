"""The long report of a trained version: metrics, slices, worst cases, suggestions."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from ml.contracts.reports.evaluation import Evaluation, Slices, WorstCases
from ml.contracts.reports.links import LinkReport
from ml.contracts.reports.version import VersionMetrics
from ml.contracts.schema import EdgeKey
from ml.evaluation.answers import Answers, OnProgress, answer
from ml.evaluation.intervals import LEVEL
from ml.evaluation.metrics import Scorer
from ml.evaluation.slices import link_slices, user_slices
from ml.evaluation.suggestions import suggest
from ml.evaluation.worst_links import worst_links
from ml.evaluation.worst_users import worst_users
from ml.graph.splits import Split

FORMAT = 1
INTERVALS = (
    f"{LEVEL:.0%}; of shares of pairs by Wilson, all pairs of a source counted as about one case; "
    "of AUCs by 1,000 resamples of the users"
)
DRIFT = 1e-3
NO_ANSWERS = "no single users: this version was trained before answers to held-out users were kept"


def long_report(
    split: Split,
    model: Mapping[EdgeKey, Scorer],
    metrics: VersionMetrics,
    held_out: pl.DataFrame | None,
    facts: pl.DataFrame,
    *,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """What a version can do, where it fails, and what may help. The same for the same input.

    What the training measured is taken over as it is; the model is asked about the held-out pairs
    once more, because their single ranks were not kept.

    Args:
        split: Of the graph it was trained on, as the training split it.
        model: Scores by edge type, from what was known at the test cut.
        metrics: Of the version.
        held_out: Of ``ml.bundle.Artifact``.
        facts: Of ``ml.fusion.facts.user_facts``, of the graph that the score knew.
        seed: Of the intervals.
        on_progress: Told what share is done, from 0 to 1, and what comes next.

    Raises:
        ml.evaluation.answers.OtherData: if the split holds out other pairs than the training did.
    """
    tell = on_progress or (lambda share, message: None)
    answers = answer(
        split, model, metrics.links, on_progress=lambda share, message: tell(share / 2, message)
    )
    tell(0.5, "slices")
    users = facts.head(0) if held_out is None else _of(facts, held_out)
    answered = pl.DataFrame() if held_out is None else held_out
    slices = Slices(
        links=link_slices(answers, metrics.links),
        users=user_slices(answered, users, seed=seed),
    )
    tell(0.8, "worst cases and suggestions")
    return Evaluation(
        format=FORMAT,
        metrics=metrics.by_name(),
        links=metrics.links,
        score=metrics.score,
        slices=slices,
        worst=WorstCases(
            links=[row for of_edge in answers for row in worst_links(split.observed, of_edge)],
            users=worst_users(answered, users),
        ),
        suggestions=suggest(slices, metrics.score, _without(split, answers)),
        notes=[*_drift(answers, metrics.links), *([NO_ANSWERS] if held_out is None else [])],
        intervals=INTERVALS,
        seed=seed,
    )


def _of(facts: pl.DataFrame, held_out: pl.DataFrame) -> pl.DataFrame:
    """The facts of the held-out users, in their order."""
    return held_out.select("user_id").join(
        facts, on="user_id", how="left", maintain_order="left", validate="1:1"
    )


def _without(split: Split, answers: list[Answers]) -> dict[str, int]:
    """How many sources had no edge of a type at the test cut."""
    nodes = split.observed.num_nodes
    return {
        of_edge.edge.name: nodes[of_edge.edge.source] - len(np.unique(of_edge.queries.known.src))
        for of_edge in answers
    }


def _drift(answers: list[Answers], measured: LinkReport) -> list[str]:
    """Where the model answers otherwise than in the training, as on another machine."""
    notes = []
    for of_edge in answers:
        now = float((1 / of_edge.ranks).mean())
        then = measured.edge_types[of_edge.edge.name].model.mrr
        if then is not None and abs(now - then) > DRIFT:
            notes.append(
                f"{of_edge.edge.name}: MRR {now:.4f} when asked again, {then:.4f} in the training; "
                "another device or machine answers a little otherwise"
            )
    return notes
