"""Drawings of a model's metrics as coordinates; templates make SVG of them."""

from dataclasses import dataclass
from typing import Any

from controlcenter.platform.common.metric_tables import part, rows_of

SIDE, LEFT, TOP = 200.0, 46.0, 10.0
SMALLEST, LARGEST = 3.0, 9.0


@dataclass(frozen=True)
class Dot:
    """A bin: how large its users' number makes it, and what it says."""

    x: str
    y: str
    r: str
    text: str


@dataclass(frozen=True)
class Reliability:
    """Observed shares over predicted ones; on the diagonal the probabilities hold."""

    dots: list[Dot]
    error: str


def reliability(metrics: Any) -> Reliability | None:
    """The drawing of a score's reliability table; None where there is none."""
    score = part(metrics, "score")
    rows = [row for row in rows_of(score, "reliability") if _whole(row)]
    if not rows:
        return None
    most = max(row["count"] for row in rows) or 1
    dots = [
        Dot(
            x=f"{LEFT + SIDE * row['predicted']:.1f}",
            y=f"{TOP + SIDE * (1 - row['observed']):.1f}",
            r=f"{SMALLEST + (LARGEST - SMALLEST) * (row['count'] / most) ** 0.5:.1f}",
            text=f"{row['count']:,} users: predicted {row['predicted']:.3f}, "
            f"observed {row['observed']:.3f}",
        )
        for row in rows
    ]
    ece = score.get("ece")
    return Reliability(dots, f"{ece:.4f}" if isinstance(ece, float | int) else "")


def _whole(row: Any) -> bool:
    names = ("count", "predicted", "observed")
    return isinstance(row, dict) and all(isinstance(row.get(n), int | float) for n in names)
