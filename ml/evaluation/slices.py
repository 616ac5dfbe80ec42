"""Quality of links and of the score by slice, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

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


def link_slices(answers: Sequence[Answers], measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Recall@20 of the model by edge type and slice, with its interval, beside the baselines.

    Args:
        measured: The link report of the training, for the baselines.

    Returns:
        Rows of ``edge_type``, ``source`` (node type), ``slice`` (``all``, ``repeat``, ``new``,
        ``cold …``), ``pairs``, ``sources``, ``effective`` (how many cases they count for),
        ``recall_at_20``, ``low``, ``high``, ``baselines``.
    """
    rows = []
    for found in answers:
        of_type = measured["edge_types"][found.edge.name]
        everything = {WHOLE: np.ones(len(found.queries), bool), **found.queries.slices}
        for name, inside in everything.items():
            if not inside.any():
                continue
            ranks = found.ranks_new if name == "new" else found.ranks
            share = share_of(ranks[inside] <= K, found.queries.src[inside])
            methods = of_type if name == WHOLE else of_type["slices"].get(name, {})
            rows.append(
                {
                    "edge_type": found.edge.name, "source": found.edge.source, "slice": name,
                    "pairs": share.cases, "sources": share.groups, "effective": share.effective,
                    f"recall_at_{K}": share.value, "low": share.low, "high": share.high,
                    "baselines": baselines_of(methods),
                }
            )  # fmt: skip
    return rows


def baselines_of(methods: Mapping[str, Any]) -> dict[str, float]:
    """Recall@20 of every method but the model."""
    return {
        name: values[f"recall@{K}"]
        for name, values in methods.items()
        if name != "model" and isinstance(values, Mapping) and f"recall@{K}" in values
    }


def user_slices(held_out: pl.DataFrame, facts: pl.DataFrame, *, seed: int) -> list[dict[str, Any]]:
    """Quality of the score on held-out users, by what is known of them.

    Args:
        held_out: ``outcome`` and a probability by method, a row a user.
        facts: Of the same users in the same order: ``edges``, ``missing``, ``rule_hits``.
        seed: Of the intervals.

    Returns:
        Rows of ``about`` (``edges``, ``attributes``, ``rules``), ``slice``, ``users``,
        ``positives``, ``predicted`` and ``observed`` (shares), ``observed_low``,
        ``observed_high``, ``brier``, ``calibration_error``, and, with ``MIN_CLASS`` users of each
        outcome, ``auc`` with ``low`` and ``high`` and ``boosting_auc``.
    """
    if not held_out.height:
        return []
    y, p = held_out["outcome"].to_numpy(), held_out["fused"].to_numpy()
    other = held_out["boosting"].to_numpy()
    rows = []
    for about, slices in _divisions(facts).items():
        for name, inside in slices.items():
            if inside.any():
                quality = _quality(y[inside], p[inside], other[inside], seed)
                rows.append({"about": about, "slice": name, **quality})
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
    y: npt.NDArray[Any], p: npt.NDArray[np.float64], other: npt.NDArray[np.float64], seed: int
) -> dict[str, Any]:
    observed = share_of(y > 0, np.arange(len(y)))
    found: dict[str, Any] = {
        "users": len(y),
        "positives": int((y > 0).sum()),
        "predicted": float(p.mean()),
        "observed": observed.value,
        "observed_low": observed.low,
        "observed_high": observed.high,
        "brier": brier(y, p),
        "calibration_error": calibration_error(y, p),
    }
    if MIN_CLASS <= found["positives"] <= len(y) - MIN_CLASS:
        area = asdict(auc_interval(y, p, seed=seed))
        found |= {"auc": area["value"], "low": area["low"], "high": area["high"]}
        found["boosting_auc"] = auc(y, other)
    return found
