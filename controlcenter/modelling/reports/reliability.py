"""Observed shares over predicted ones, as coordinates; a template makes SVG of them."""

from dataclasses import dataclass

from ml.contracts.reports.score import ScoreReport

SIDE, LEFT, TOP = 200.0, 46.0, 10.0
SMALLEST, LARGEST = 3.0, 9.0


@dataclass(frozen=True)
class ReliabilityDot:
    """A bin: how large its users' number makes it, and what it says."""

    x: str
    y: str
    r: str
    text: str


@dataclass(frozen=True)
class Reliability:
    """Observed shares over predicted ones; on the diagonal the probabilities hold.

    Args:
        error: Of the calibration; empty where it was not measured.
    """

    dots: list[ReliabilityDot]
    error: str


def reliability(score: ScoreReport) -> Reliability | None:
    """The drawing of a score's reliability table; None where there is none."""
    if not score.reliability:
        return None
    most = max(row.count for row in score.reliability) or 1
    dots = [
        ReliabilityDot(
            x=f"{LEFT + SIDE * row.predicted:.1f}",
            y=f"{TOP + SIDE * (1 - row.observed):.1f}",
            r=f"{SMALLEST + (LARGEST - SMALLEST) * (row.count / most) ** 0.5:.1f}",
            text=f"{row.count:,} users: predicted {row.predicted:.3f}, observed {row.observed:.3f}",
        )
        for row in score.reliability
    ]
    error = score.calibration_error
    return Reliability(dots, "" if error is None else f"{error:.4f}")
