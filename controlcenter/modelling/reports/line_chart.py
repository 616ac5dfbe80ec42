"""A line chart for the pages: one value by epoch or iteration."""

from collections.abc import Mapping
from dataclasses import dataclass

WIDTH, HEIGHT, MARGIN = 640.0, 220.0, 46.0


@dataclass(frozen=True)
class LineChart:
    """A polyline in a box of WIDTH by HEIGHT, with the texts of its axes.

    Args:
        points: As SVG takes them: ``x,y x,y``.
        low, high: The least and the greatest value.
        first, last: Ends of the axis, as epochs or iterations.
    """

    points: str
    low: str
    high: str
    first: int
    last: int
    last_value: str


def line_chart(series: Mapping[int, float]) -> LineChart | None:
    """The chart of a value by epoch or iteration; None where there are less than two.

    Args:
        series: In ascending order of its keys.
    """
    if len(series) < 2:
        return None
    steps, values = list(series), list(series.values())
    low, high = min(values), max(values)
    spread, length = (high - low) or 1.0, (steps[-1] - steps[0]) or 1
    points = [
        (
            MARGIN + (WIDTH - MARGIN - 10) * (step - steps[0]) / length,
            10 + (HEIGHT - 40) * (high - value) / spread,
        )
        for step, value in series.items()
    ]
    return LineChart(
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        low=f"{low:.4f}",
        high=f"{high:.4f}",
        first=steps[0],
        last=steps[-1],
        last_value=f"{values[-1]:.4f}",
    )
