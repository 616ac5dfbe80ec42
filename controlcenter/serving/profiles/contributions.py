"""An explanation as bars to the left and right of the mean."""

from collections.abc import Sequence
from dataclasses import dataclass

from controlcenter.platform.common.formatting import NONE, Table, number, plain
from ml.contracts.reports.explanation import (
    BackgroundSample,
    Contribution,
    ExplanationReport,
    NeighbourEffects,
    Scalar,
)

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
    """The bars of an explanation, the widest first, and what they add up to.

    Args:
        summary: The largest parts in words.
        neighbours: The strongest single neighbours of each kind of events.
        warnings: What a reader must know before believing the numbers.
        notes: How they are to be read.
    """

    rows: list[Bar]
    base: str
    score: str
    scale: str
    method: str
    rest: str
    summary: str
    background: str
    neighbours: Table
    warnings: list[str]
    notes: list[str]


def bars(explanation: ExplanationReport) -> Bars:
    """Bars of the largest contributions; what the others add is said in ``rest``."""
    rows = sorted(explanation.contributions, key=lambda row: -abs(row.contribution))
    largest = max((abs(row.contribution) for row in rows), default=0.0) or 1.0
    smaller = rows[SHOWN:]
    rest = ""
    if smaller:
        total = sum(row.contribution for row in smaller)
        rest = f"{len(smaller)} smaller contributions add {total:+.4f}."
    return Bars(
        rows=[bar(row, largest) for row in rows[:SHOWN]],
        base=number(explanation.base),
        score=number(explanation.score),
        scale=explanation.scale,
        method=explanation.method,
        rest=rest,
        summary=explanation.summary,
        background=background(explanation.background),
        neighbours=neighbours(explanation.neighbours or []),
        warnings=explanation.warnings,
        notes=explanation.notes,
    )


def background(sample: BackgroundSample | str) -> str:
    """Whom the user is compared with."""
    if isinstance(sample, str):
        return ""
    return "zeros" if sample.kind == "zero" else f"{sample.size} users, sample {sample.id}"


def neighbours(kinds: Sequence[NeighbourEffects]) -> Table:
    """The strongest neighbours of all kinds, those of a kind together."""
    rows: list[list[object]] = []
    for kind in kinds:
        for neighbour in kind.strongest:
            label = f"{neighbour.name} ({neighbour.id})" if neighbour.name else neighbour.id
            part = f"{neighbour.contribution:+.4f}"
            rows.append([kind.player, neighbour.type, label, number(neighbour.events), part])
    tried = "".join(
        f" Of {number(kind.neighbours)} {kind.player} the {kind.tried} with most events were tried."
        for kind in kinds
        if kind.tried < kind.neighbours
    )
    note = f"The score minus the score without this one neighbour; they don't add up.{tried}"
    columns = ["part", "type", "neighbour", "events", "contribution"]
    return Table("Strongest single neighbours", columns, rows, numeric=[3, 4], note=note)


def shown(value: Scalar | dict[str, Scalar]) -> str:
    """A player's value as people write it."""
    if isinstance(value, dict):
        parts = [f"{name} {plain(part)}" for name, part in value.items() if part is not None]
        return ", ".join(parts) or NONE
    return "" if value is None else plain(value)


def bar(row: Contribution, largest: float) -> Bar:
    """One contribution as a bar from the middle.

    Args:
        largest: The largest contribution by amount, which fills its side.
    """
    part = row.contribution
    width = abs(part) / largest * (MIDDLE - 2)
    return Bar(
        player=row.player,
        kind=row.kind,
        value=shown(row.value),
        contribution=f"{part:+.4f}",
        x=f"{MIDDLE if part >= 0 else MIDDLE - width:.1f}",
        width=f"{width:.1f}",
        up=part >= 0,
    )
