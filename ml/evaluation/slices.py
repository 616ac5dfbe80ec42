"""Quality of links and of the score by slice, with intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ml.contracts.reports.evaluation import LinkSliceQuality, UserSliceQuality
from ml.contracts.reports.links import LinkReport, Methods
from ml.evaluation.answers import Answers
from ml.evaluation.bootstrap import auc_interval
from ml.evaluation.intervals import share_of
from ml.evaluation.metrics import auc, brier, calibration_error

K = 20
WHOLE = "all"
MIN_CLASS = 20
"""Users of each outcome below which no AUC of a slice is shown."""
EDGES = {"under 5 edges": (0, 4), "5-19 edges": (5, 19), "20+ edges": (20, None)}
"""Distinct neighbours of a user by name of the slice; both ends included."""


def link_slices(answers: Sequence[Answers], measured: LinkReport) -> list[LinkSliceQuality]:
    """Recall@20 of the model by edge type and slice, with its interval, beside the baselines.

    Args:
        measured: The link report of the training, for the baselines.
    """
    rows = []
    for found in answers:
        of_type = measured.edge_types[found.edge.name]
        everything = {WHOLE: np.ones(len(found.queries), bool), **found.queries.slices}
        for name, inside in everything.items():
            if not inside.any():
                continue
            ranks = found.ranks_new if name == "new" else found.ranks
            share = share_of(ranks[inside] <= K, found.queries.src[inside])
            methods = of_type if name == WHOLE else of_type.slices.get(name, Methods())
            rows.append(
                LinkSliceQuality(
                    edge_type=found.edge.name, source=found.edge.source, slice=name,
                    pairs=share.cases, sources=share.groups, effective=share.effective,
                    recall_at_20=share.value, low=share.low, high=share.high,
                    baselines=baselines_of(methods),
                )
            )  # fmt: skip
    return rows


def baselines_of(methods: Methods) -> dict[str, float]:
    """Recall@20 of every method but the model."""
    return {
        name: metrics.recall_at_20
        for name, metrics in methods.measured().items()
        if name != "model" and metrics.recall_at_20 is not None
    }


def user_slices(
    held_out: pl.DataFrame, facts: pl.DataFrame, *, seed: int
) -> list[UserSliceQuality]:
    """Quality of the score on held-out users, by what is known of them.

    Args:
        held_out: ``outcome`` and a probability by method, a row a user.
        facts: Of the same users in the same order: ``edges``, ``missing``, ``rule_hits``.
        seed: Of the intervals.

    Returns:
        Those that have users; an AUC where there are ``MIN_CLASS`` of each outcome.
    """
    if not held_out.height:
        return []
    y, p = held_out["outcome"].to_numpy(), held_out["fused"].to_numpy()
    other = held_out["boosting"].to_numpy()
    rows = []
    for about, slices in _divisions(facts).items():
        for name, inside in slices.items():
            if inside.any():
                part = (y[inside], p[inside], other[inside])
                rows.append(_quality(about, name, *part, seed=seed))
    return rows


def _divisions(facts: pl.DataFrame) -> dict[str, dict[str, npt.NDArray[np.bool_]]]:
    edges = facts["edges"].to_numpy()
    missing = facts["missing"].list.len().to_numpy() > 0
    hit = facts["rule_hits"].list.len().to_numpy() > 0
    by_edges = {
        name: (edges >= low) & (edges <= (edges if high is None else high))
        for name, (low, high) in EDGES.items()
    }
    return {
        "all": {"all": np.ones(facts.height, bool)},
        "edges": by_edges,
        "attributes": {"some missing": missing, "none missing": ~missing},
        "rules": {"a rule hits": hit, "no rule hits": ~hit},
    }


def _quality(
    about: str,
    name: str,
    y: npt.NDArray[Any],
    p: npt.NDArray[np.float64],
    other: npt.NDArray[np.float64],
    *,
    seed: int,
) -> UserSliceQuality:
    observed = share_of(y > 0, np.arange(len(y)))
    positives = int((y > 0).sum())
    comparable = MIN_CLASS <= positives <= len(y) - MIN_CLASS
    area = auc_interval(y, p, seed=seed) if comparable else None
    return UserSliceQuality(
        about=about,
        slice=name,
        users=len(y),
        positives=positives,
        predicted=float(p.mean()),
        observed=observed.value,
        observed_low=observed.low,
        observed_high=observed.high,
        brier=brier(y, p),
        calibration_error=calibration_error(y, p),
        auc=area.value if area else None,
        low=area.low if area else None,
        high=area.high if area else None,
        boosting_auc=auc(y, other) if area else None,
    )
