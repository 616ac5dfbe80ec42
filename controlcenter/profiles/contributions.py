"""An explanation as bars to the left and right of the mean."""

from dataclasses import dataclass
from typing import Any

from controlcenter.common.presenting import number, plain

WIDTH = 200.0
MIDDLE = WIDTH / 2
SHOWN = 25


@dataclass(frozen=True)
class Bar:
    """One player: what it is, and its part of the score.

    Args:
        x: Left end in a box of WIDTH; ``width`` likewise.
        up: Whether it raises the score.
    """

    player: str
    kind: str
    value: str
    contribution: str
    x: str
    width: str
    up: bool


@dataclass(frozen=True)
class Bars:
    """The bars of an explanation, the widest first, and what they add up to."""

    rows: list[Bar]
    base: str
    score: str
    scale: str
    method: str
    rest: str


def bars(result: dict[str, Any]) -> Bars:
    """Bars of the largest contributions; what the others add is said in ``rest``."""
    found = [one for one in result.get("contributions", []) if isinstance(one, dict)]
    found.sort(key=lambda one: -abs(float(one["contribution"])))
    largest = max((abs(float(one["contribution"])) for one in found), default=0.0) or 1.0
    others = found[SHOWN:]
    rest = ""
    if others:
        total = sum(float(one["contribution"]) for one in others)
        rest = f"{len(others)} smaller contributions add {total:+.4f}."
    return Bars(
        rows=[bar(one, largest) for one in found[:SHOWN]],
        base=number(result.get("base")),
        score=number(result.get("score")),
        scale=str(result.get("scale", "")),
        method=str(result.get("method", "")),
        rest=rest,
    )


def bar(one: dict[str, Any], largest: float) -> Bar:
    part = float(one["contribution"])
    width = abs(part) / largest * (MIDDLE - 2)
    return Bar(
        player=str(one.get("player", "")),
        kind=str(one.get("kind", "")),
        value="" if one.get("value") is None else plain(one["value"]),
        contribution=f"{part:+.4f}",
        x=f"{MIDDLE if part >= 0 else MIDDLE - width:.1f}",
        width=f"{width:.1f}",
        up=part >= 0,
    )
