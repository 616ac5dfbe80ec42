"""The report on the fused score: how good it is on users it has not seen, beside its parts."""

from typing import Literal

import msgspec

from ml.contracts.reports.base import Report, added, nothing
from ml.contracts.reports.metrics import SCORE_KEYS, Figures, ScoreMetrics

TargetKind = Literal["label", "future behaviour", "rules"]


UNMEASURED = ScoreMetrics()


class ScoreMethods(Report, frozen=True, kw_only=True):
    """Metrics by method, on the same folds; a method that was not measured has none."""

    fused: ScoreMetrics = UNMEASURED
    rules: ScoreMetrics = UNMEASURED
    embedding: ScoreMetrics = UNMEASURED
    boosting: ScoreMetrics = UNMEASURED
    without_embedding: ScoreMetrics = UNMEASURED


class Comparison(Report, frozen=True, kw_only=True):
    """AUC of the fused score minus that of its best part alone, on the same users.

    Args:
        low: Lower end of the interval that has ``level`` of the resamples of users.
    """

    best_part: str
    value: float
    low: float
    high: float
    level: float
    resamples: int


class Calibration(Report, frozen=True, kw_only=True):
    """How the probabilities were calibrated, and how good they were before."""

    method: str
    bins: int
    brier_before: float
    calibration_error_before: float = msgspec.field(name="ece_before")


class ReliabilityBin(Report, frozen=True, kw_only=True):
    """Users whose probability lies from ``low`` to ``high``: its mean, and what happened."""

    low: float = msgspec.field(name="from")
    high: float = msgspec.field(name="to")
    count: int
    predicted: float
    observed: float


class GateSpread(Figures, frozen=True, kw_only=True):
    """Share of the rules in the score: mean and quantiles over users; None: not measured."""

    mean: float | None = None
    p5: float | None = None
    p25: float | None = None
    p50: float | None = None
    p75: float | None = None
    p95: float | None = None


class ScoreReport(Report, frozen=True, kw_only=True, rename=SCORE_KEYS):
    """Quality of the fused score. A figure is None where nothing could be measured.

    Args:
        auc: Of the fused score, likewise the three after it; of its parts ``<part>_auc``.
        validated: False: trained on the rules, and measured against nothing else.
        what: What a 1 means, in words.
        passed_over: Why the targets that come before this one were not used.
        cut: Evidence is from before this moment.
        horizon_days: Days of future behaviour that were looked at.
        users: That were asked about; ``positive_share`` of them had a 1.
    """

    auc: float | None
    average_precision: float | None
    brier: float | None
    calibration_error: float | None
    rules_auc: float | None
    embedding_auc: float | None
    boosting_auc: float | None
    without_embedding_auc: float | None = added(nothing)
    target: TargetKind
    validated: bool
    what: str = added(str)
    passed_over: list[str] = added(list)
    cut: str | None = added(nothing)
    horizon_days: float | None = added(nothing)
    folds: int
    users: int
    positive_share: float | None = None
    methods: ScoreMethods
    comparison: Comparison | None = None
    notes: list[str] = added(list)
    calibration: Calibration | None = None
    reliability: list[ReliabilityBin] = added(list)
    gate: GateSpread

    @property
    def fused(self) -> ScoreMetrics:
        """The metrics of the score itself."""
        return ScoreMetrics(
            auc=self.auc,
            average_precision=self.average_precision,
            brier=self.brier,
            calibration_error=self.calibration_error,
        )

    def measured(self) -> dict[str, ScoreMetrics]:
        """Metrics of each method that has one, the fused score first; of an older report the AUCs
        alone."""
        by_name = {
            "fused": (self.methods.fused, self.auc),
            "rules": (self.methods.rules, self.rules_auc),
            "without_embedding": (self.methods.without_embedding, self.without_embedding_auc),
            "embedding": (self.methods.embedding, self.embedding_auc),
            "boosting": (self.methods.boosting, self.boosting_auc),
        }
        whole = {name: metrics for name, (metrics, _) in by_name.items() if metrics.known()}
        alone = {n: ScoreMetrics(auc=auc) for n, (_, auc) in by_name.items() if auc is not None}
        return whole or alone
