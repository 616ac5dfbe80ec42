"""The metrics of a score beside its parts, as tables; what was not measured is left out."""

from controlcenter.modelling.reports.cells import columns_of, compared, headings, sentences
from controlcenter.platform.common.formatting import NOT_VALIDATED, Table, number
from ml.contracts.reports.metrics import ScoreMetrics
from ml.contracts.reports.score import Comparison, ScoreReport

SCORES = {
    "fused": "fused score",
    "rules": "rules alone",
    "without_embedding": "rules and attributes, no embedding",
    "embedding": "embedding alone",
    "boosting": "gradient boosting",
}


def score_tables(score: ScoreReport) -> list[Table]:
    """The score beside its parts, how it was measured, how well its probabilities hold, and how
    the gate is spread."""
    methods = score.measured()
    columns = columns_of([methods])
    return [
        Table(
            "Score: fused beside its parts",
            ["method", *headings(ScoreMetrics, columns)],
            compared(methods, SCORES, columns),
            numeric=range(1, 1 + len(columns)),
            notes=[comparison(score.comparison)] if score.comparison else [],
        ),
        Table(
            "How the score was measured",
            ["about", "value"],
            about_rows(score),
            numeric=[1],
            notes=[*sentences(score.notes), *sentences(score.passed_over)],
            warning="" if score.validated else f"This score is {NOT_VALIDATED}.",
        ),
        reliability_table(score),
        Table(
            "Gate: share of the rules in the score",
            ["statistic", "value"],
            [[name, number(value)] for name, value in score.gate.known().items()],
            numeric=[1],
        ),
    ]


def about_rows(score: ScoreReport) -> list[list[str]]:
    """What the score predicts and how it was calibrated."""
    rows: list[list[str]] = [
        ["target", score.target],
        *([["what a 1 means", score.what]] if score.what else []),
        ["validated", number(score.validated)],
        ["evidence from before", number(score.cut)],
        ["users", number(score.users)],
        ["folds", number(score.folds)],
    ]
    if score.positive_share is not None:
        rows.append(["positive share", number(score.positive_share)])
    if score.calibration is not None:
        before = score.calibration
        rows.append(["Brier before calibration", number(before.brier_before)])
        error = number(before.calibration_error_before)
        rows.append(["calibration error before calibration", error])
    return rows


def comparison(difference: Comparison) -> str:
    """The fused score beside its best part, in a sentence."""
    best = SCORES.get(difference.best_part, difference.best_part)
    return (
        f"AUC of the fused score minus that of the best single part ({best}): "
        f"{difference.value:+.4f}; "
        f"{difference.level:.0%} of {number(difference.resamples)} resamples of the users "
        f"from {difference.low:+.4f} to {difference.high:+.4f}."
    )


def reliability_table(score: ScoreReport) -> Table:
    """Predicted and observed shares by bin of the probability."""
    rows: list[list[str]] = [
        [
            f"{row.low:.2g} to {row.high:.2g}",
            number(row.count),
            number(row.predicted),
            number(row.observed),
        ]
        for row in score.reliability
    ]
    return Table(
        "Reliability: predicted and observed",
        ["probability", "users", "predicted", "observed"],
        rows,
        numeric=[1, 2, 3],
        note=score.calibration.method if score.calibration else "",
    )
