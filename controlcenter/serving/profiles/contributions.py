"""An explanation as bars to the left and right of the mean."""

from dataclasses import dataclass
from typing import Any

from controlcenter.platform.common.presenting import NONE, Table, number, plain

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
        summary=str(result.get("summary", "")),
        background=background(result.get("background")),
        neighbours=neighbours(result.get("neighbours") or []),
        warnings=[str(one) for one in result.get("warnings") or []],
        notes=[str(one) for one in result.get("notes") or []],
    )


def background(about: Any) -> str:
    """Whom the user is compared with."""
    if not isinstance(about, dict):
        return ""
    if about.get("kind") == "zero":
        return "zeros"
    return f"{about.get('size')} users, sample {about.get('id')}"


def neighbours(kinds: list[dict[str, Any]]) -> Table:
    """The strongest neighbours of all kinds, those of a kind together."""
    rows: list[list[Any]] = []
    for kind in kinds:
        for one in kind["strongest"]:
            known = f"{one['name']} ({one['id']})" if one["name"] else one["id"]
            part = f"{float(one['contribution']):+.4f}"
            rows.append([kind["player"], one["type"], known, number(one["events"]), part])
    tried = [k for k in kinds if k["tried"] < k["neighbours"]]
    told = "".join(
        f" Of {number(k['neighbours'])} {k['player']} the {k['tried']} with most events were tried."
        for k in tried
    )
    note = f"The score minus the score without this one neighbour; they don't add up.{told}"
    columns = ["part", "type", "neighbour", "events", "contribution"]
    return Table("Strongest single neighbours", columns, rows, numeric=[3, 4], note=note)


def shown(value: Any) -> str:
    """A player's value as people write it."""
    if isinstance(value, dict):
        known = [f"{name} {plain(one)}" for name, one in value.items() if one is not None]
        return ", ".join(known) or NONE
    return "" if value is None else plain(value)


def bar(one: dict[str, Any], largest: float) -> Bar:
    part = float(one["contribution"])
    width = abs(part) / largest * (MIDDLE - 2)
    return Bar(
        player=str(one.get("player", "")),
        kind=str(one.get("kind", "")),
        value=shown(one.get("value")),
        contribution=f"{part:+.4f}",
        x=f"{MIDDLE if part >= 0 else MIDDLE - width:.1f}",
        width=f"{width:.1f}",
        up=part >= 0,
    )
