"""How good the fused score is on users it has not seen, beside its parts on the same folds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ml.contracts.reports.metrics import ScoreMetrics
from ml.contracts.reports.score import (
    Calibration,
    Comparison,
    GateSpread,
    ScoreMethods,
    ScoreReport,
)
from ml.evaluation.baselines import boosting
from ml.evaluation.bootstrap import auc_difference
from ml.evaluation.metrics import (
    BINS,
    auc,
    average_precision,
    brier,
    calibration_error,
    reliability,
)
from ml.fusion.evidence import AttributeEncoder, Evidence
from ml.fusion.fusion import Fusion, FusionConfig, fit_fusion, score
from ml.fusion.leaks import telling
from ml.fusion.notes import NOT_VALIDATED, SINGLE, score_notes
from ml.fusion.targets import ScoreTarget

METHODS = ("fused", "rules", "embedding", "boosting", "without_embedding")
CALIBRATION = (
    "Platt scaling, fitted for each fold on users that are in neither the training nor the test "
    f"part; calibration error over {BINS} bins of equal width"
)

Probabilities = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Validation:
    """What the cross validation found.

    Args:
        held_out: What was said of each user by fits that never saw its target: ``row`` (in the
            evidence), ``outcome`` (0 or 1) and a probability by method (``fused``, ``rules``,
            ``embedding``, ``boosting``, ``without_embedding``). No rows where nothing is measured.
    """

    report: ScoreReport
    held_out: pl.DataFrame


def validate_fusion(
    evidence: Evidence,
    target: ScoreTarget,
    frame: pl.DataFrame,
    encoder: AttributeEncoder,
    config: FusionConfig,
) -> Validation:
    """Cross-validated quality of the score beside its parts and gradient boosting.

    Users are divided into folds of equal class shares; what is said of a user comes from fits
    that never saw its target: fusion, early stopping and calibration alike. The embedding is
    unsupervised and has seen everybody's features and edges, as it does in production.

    Returns:
        The held-out probabilities, and a report. Against the rules as target nothing is measured.
    """
    rows = np.flatnonzero(target.known)
    if not target.validated:
        report = _unmeasured(target, config, users=len(rows))
        return Validation(report, held_out_frame(rows[:0], np.empty(0), dict.fromkeys(METHODS)))
    if len(rows) > config.max_validated:
        drawn = np.random.default_rng(config.seed).choice(
            len(rows), config.max_validated, replace=False
        )
        rows = rows[np.sort(drawn)]
    part, y = evidence.take(rows), target.y[rows]
    raw, categorical = encoder.raw(frame[rows])
    p, gate = _out_of_fold(part, y, raw, categorical, config)
    before = p.pop("uncalibrated")
    area = {name: auc(y, values) for name, values in p.items()}
    single = telling(raw, y, stratified_folds(y, config.folds, config.seed))
    alone = dict(zip(encoder.raw_names, single.tolist(), strict=False))
    comparison = _compared(y, p, area, seed=config.seed)
    methods = {name: _quality(y, values) for name, values in p.items()}
    fused = methods["fused"]
    report = ScoreReport(
        auc=fused.auc,
        average_precision=fused.average_precision,
        brier=fused.brier,
        calibration_error=fused.calibration_error,
        rules_auc=area["rules"],
        embedding_auc=area["embedding"],
        boosting_auc=area["boosting"],
        without_embedding_auc=area["without_embedding"],
        target=target.kind,
        validated=target.validated,
        what=target.what,
        passed_over=list(target.passed_over),
        cut=target.since,
        horizon_days=target.horizon_days,
        folds=config.folds,
        users=len(rows),
        positive_share=float(y.mean()),
        methods=ScoreMethods(**methods),
        comparison=comparison,
        notes=score_notes(area, y, comparison, alone),
        calibration=Calibration(
            method=CALIBRATION,
            bins=BINS,
            brier_before=brier(y, before),
            calibration_error_before=calibration_error(y, before),
        ),
        reliability=reliability(y, p["fused"]),
        gate=GateSpread(
            mean=float(gate.mean()),
            **{f"p{q}": float(np.quantile(gate, q / 100)) for q in (5, 25, 50, 75, 95)},
        ),
    )
    return Validation(report, held_out_frame(rows, y, p))


def _unmeasured(target: ScoreTarget, config: FusionConfig, *, users: int) -> ScoreReport:
    """What can be said of a score that is trained on the rules."""
    return ScoreReport(
        auc=None,
        average_precision=None,
        brier=None,
        calibration_error=None,
        rules_auc=None,
        embedding_auc=None,
        boosting_auc=None,
        target=target.kind,
        validated=target.validated,
        what=target.what,
        passed_over=list(target.passed_over),
        cut=target.since,
        horizon_days=target.horizon_days,
        folds=config.folds,
        users=users,
        methods=ScoreMethods(),
        notes=[f"{NOT_VALIDATED}. {'; '.join(target.passed_over)}".rstrip(". ")],
        gate=GateSpread(),
    )


def held_out_frame(
    rows: npt.NDArray[np.int64], y: npt.NDArray[np.float64], p: Mapping[str, Any]
) -> pl.DataFrame:
    """One row a user that was held out once. Shapes: [n], [n], [n] each."""
    columns = {name: pl.Series(p[name], dtype=pl.Float64) for name in METHODS}
    outcome = pl.Series(y, dtype=pl.Float64).cast(pl.Int8)
    return pl.DataFrame({"row": pl.Series(rows, dtype=pl.Int64), "outcome": outcome, **columns})


def _compared(
    y: npt.NDArray[np.float64],
    p: Probabilities,
    area: Mapping[str, float],
    *,
    seed: int,
) -> Comparison:
    """The fused score beside the best part alone, on the same users of the same folds."""
    best = max(SINGLE, key=lambda name: area[name])
    difference = auc_difference(y, p["fused"], p[best], seed=seed)
    return Comparison(best_part=best, **asdict(difference))


def _out_of_fold(
    evidence: Evidence,
    y: npt.NDArray[np.float64],
    raw: npt.NDArray[np.float64],
    categorical: list[int],
    config: FusionConfig,
) -> tuple[Probabilities, npt.NDArray[np.float64]]:
    """Probability of each user by each method, fitted without its fold, and the gate."""
    names = (*METHODS, "uncalibrated")
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
        p["uncalibrated"][test] = _uncalibrated(fusion, scores.final)
        part = fit_fusion(bare.take(train), y[train], seeded)
        p["without_embedding"][test] = score(part, bare.take(test)).final
        p["rules"][test] = _logistic(evidence.hits, y, train, test)
        p["embedding"][test] = _logistic(evidence.embedding, y, train, test)
        trees = boosting(raw[train], categorical, y[train].astype(np.int8), seed=config.seed)
        p["boosting"][test] = trees.predict_proba(raw[test])[:, 1]
    return p, gate


def _uncalibrated(fusion: Fusion, p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The probabilities before the last step of the fit."""
    a, b = np.asarray(fusion.platt, np.float64)
    inside = np.clip(p, 1e-15, 1 - 1e-15)
    z = (np.log(inside) - np.log1p(-inside) - b) / a
    return np.asarray(1 / (1 + np.exp(-z)), np.float64)


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


def _quality(y: npt.NDArray[np.float64], p: npt.NDArray[np.float64]) -> ScoreMetrics:
    return ScoreMetrics(
        auc=auc(y, p),
        average_precision=average_precision(y, p),
        brier=brier(y, p),
        calibration_error=calibration_error(y, p),
    )
