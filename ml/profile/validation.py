"""What the fused score is trained on, and how good it is on users it has not seen."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from ml.data.schema import USER
from ml.evaluation.baselines import boosting
from ml.evaluation.metrics import auc, average_precision, brier, calibration_error, reliability
from ml.graph.graph import Graph
from ml.profile.evidence import AttributeEncoder, Evidence
from ml.profile.fusion import FusionConfig, fit_fusion, score
from ml.profile.notes import NOT_VALIDATED, score_notes

TargetKind = Literal["label", "future behaviour", "rules"]

MIN_CLASS = 20
"""Users of each class below which a target is not one to learn from."""

PARTS = ("rules", "embedding", "boosting", "without_embedding")


@dataclass(frozen=True)
class Target:
    """What the score predicts.

    Args:
        y: Shape: [n].
        known: Users that have a target. Shape: [n].
    """

    kind: TargetKind
    y: npt.NDArray[np.float64]
    known: npt.NDArray[np.bool_]

    @property
    def validated(self) -> bool:
        """Whether it says something that the rules do not say themselves."""
        return self.kind != "rules"


def choose_target(
    graph: Graph, *, cut: int | None, rule_score: npt.NDArray[np.floating[Any]]
) -> Target:
    """The uploaded label; else who is inactive after the cut; else, unvalidated, the rules.

    Args:
        graph: All that is known, with the times after the cut.
        cut: Seconds; None in untimed data. Evidence for ``future behaviour`` must come from
            before it.
        rule_score: From -1 to 1. Shape: [users].
    """
    if graph.labels is not None:
        known = graph.labels >= 0
        if _learnable(graph.labels[known]):
            return Target("label", graph.labels.astype(np.float64), known)
    if cut is not None:
        inactive, known = inactive_after(graph, cut)
        if _learnable(inactive[known]):
            return Target("future behaviour", inactive, known)
    everybody = np.ones(len(rule_score), bool)
    return Target("rules", (np.asarray(rule_score, np.float64) + 1) / 2, everybody)


def inactive_after(graph: Graph, cut: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Users that act before ``cut`` (the mask) and never after it (1.0). Shapes: [users]."""
    users = graph.num_nodes[USER]
    early, late = np.zeros(users, bool), np.zeros(users, bool)
    for (source, _, _), edges in graph.edges.items():
        if source == USER and edges.time is not None:
            after = edges.time >= cut
            early[edges.src[~after]] = True
            late[edges.src[after]] = True
    return (~late).astype(np.float64), early


def fusion_report(
    evidence: Evidence,
    target: Target,
    frame: pl.DataFrame,
    encoder: AttributeEncoder,
    config: FusionConfig,
) -> dict[str, Any]:
    """Cross-validated quality of the score beside its parts and gradient boosting.

    Users are divided into folds of equal class shares; what is said of a user comes from fits
    that never saw its target: fusion, early stopping and calibration alike. The embedding is
    unsupervised and has seen everybody's features and edges, as it does in production.

    Returns:
        At least auc, ap, brier, ece, rules_auc, embedding_auc, boosting_auc,
        without_embedding_auc (rules and attributes fused: what is left without the graph), gate,
        target, validated, folds, users, notes (sentences). Against the rules as target nothing is
        measured (None).
    """
    about = {"target": target.kind, "validated": target.validated, "folds": config.folds}
    rows = np.flatnonzero(target.known)
    if not target.validated:
        measures = ("auc", "ap", "brier", "ece", *(f"{name}_auc" for name in PARTS))
        empty = dict.fromkeys(measures)
        nothing: dict[str, Any] = {"methods": {}, "gate": {}, "notes": [NOT_VALIDATED]}
        return {**empty, **about, "users": len(rows), **nothing}
    if len(rows) > config.max_validated:
        drawn = np.random.default_rng(config.seed).choice(
            len(rows), config.max_validated, replace=False
        )
        rows = rows[np.sort(drawn)]
    part, y = evidence.take(rows), target.y[rows]
    raw, categorical = encoder.raw(frame[rows])
    p, gate = _out_of_fold(part, y, raw, categorical, config)
    methods = {name: _quality(y, values) for name, values in p.items()}
    return {
        **{name: methods["fused"][name] for name in ("auc", "ap", "brier", "ece")},
        **{f"{name}_auc": methods[name]["auc"] for name in PARTS},
        **about,
        "users": len(rows),
        "positive_share": float(y.mean()),
        "methods": methods,
        "notes": score_notes(methods, y),
        "reliability": reliability(y, p["fused"]),
        "gate": {
            "mean": float(gate.mean()),
            **{f"p{q}": float(np.quantile(gate, q / 100)) for q in (5, 25, 50, 75, 95)},
        },
    }


def _out_of_fold(
    evidence: Evidence,
    y: npt.NDArray[np.float64],
    raw: npt.NDArray[np.float64],
    categorical: list[int],
    config: FusionConfig,
) -> tuple[dict[str, npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """Probability of each user by each method, fitted without its fold, and the gate."""
    names = ("rules", "embedding", "boosting", "without_embedding", "fused")
    bare = replace(evidence, embedding=evidence.embedding[:, :0])
    p = {name: np.empty(len(y)) for name in names}
    gate = np.empty(len(y))
    fold = stratified_folds(y, config.folds, config.seed)
    for number in range(config.folds):
        test, train = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        seeded = replace(config, seed=config.seed + number)
        fusion = fit_fusion(evidence.take(train), y[train], seeded)
        scores = score(fusion, evidence.take(test))
        p["fused"][test], gate[test] = scores.final, scores.gate
        part = fit_fusion(bare.take(train), y[train], seeded)
        p["without_embedding"][test] = score(part, bare.take(test)).final
        p["rules"][test] = _logistic(evidence.hits, y, train, test)
        p["embedding"][test] = _logistic(evidence.embedding, y, train, test)
        trees = boosting(raw[train], categorical, y[train].astype(np.int8), seed=config.seed)
        p["boosting"][test] = trees.predict_proba(raw[test])[:, 1]
    return p, gate


def stratified_folds(y: npt.NDArray[np.float64], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Fold of each user, with equal shares of both classes. Shape: [n]."""
    order = np.lexsort((np.random.default_rng(seed).random(len(y)), y))
    fold = np.empty(len(y), np.int64)
    fold[order] = np.arange(len(y)) % folds
    return fold


def _logistic(
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.float64],
    train: npt.NDArray[np.int64],
    test: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    from sklearn.linear_model import LogisticRegression

    if not x.shape[1]:
        return np.full(len(test), y[train].mean())
    scaled = x * x.shape[1] ** 0.5 if x.shape[1] > 32 else x
    model = LogisticRegression(max_iter=500).fit(scaled[train], y[train])
    return np.asarray(model.predict_proba(scaled[test])[:, 1], np.float64)


def _quality(y: npt.NDArray[np.float64], p: npt.NDArray[np.float64]) -> dict[str, float]:
    return {
        "auc": auc(y, p),
        "ap": average_precision(y, p),
        "brier": brier(y, p),
        "ece": calibration_error(y, p),
    }


def _learnable(labels: npt.NDArray[Any]) -> bool:
    return min(int((labels > 0).sum()), int((labels <= 0).sum())) >= MIN_CLASS
