"""Why a user has its score."""

from ml.contracts.reports.base import Report, added, nothing

Scalar = bool | int | float | str | None
"""A value of a user."""


class Contribution(Report, frozen=True, kw_only=True):
    """One player's part of the score.

    Args:
        kind: ``rule``, ``rule score``, ``attributes``, ``attribute``, ``events``, ``embedding``.
        value: What the user has there; of attributes together, by name.
    """

    player: str
    kind: str
    value: Scalar | dict[str, Scalar]
    contribution: float


class BackgroundSample(Report, frozen=True, kw_only=True):
    """Whom the user is compared with.

    Args:
        kind: ``sample`` of users, or ``zero``.
    """

    id: str
    kind: str
    size: int
    seed: int


class NeighbourEffect(Report, frozen=True, kw_only=True):
    """What the score would lack without one neighbour."""

    type: str
    id: str
    name: str | None
    events: int
    contribution: float


class NeighbourEffects(Report, frozen=True, kw_only=True):
    """The strongest neighbours of one kind of events.

    Args:
        neighbours: How many there are; ``tried`` of them were left out one by one.
    """

    player: str
    neighbours: int
    tried: int
    strongest: list[NeighbourEffect]


class ExplanationReport(Report, frozen=True, kw_only=True):
    """Contributions that add up to ``score`` minus ``base``, the largest first.

    Args:
        view: ``evidence``, ``groups`` or ``flat``.
        summary: The largest contributions in words.
        additivity_error: What they miss of the sum.
        standard_error: Of sampled ones, up to this; None: not known.
        background: Of older explanations its id alone.
        drift: The profile's score minus ``score``.
        neighbours: Of the view ``evidence`` alone.
        notes: How to read it; ``warnings``: what to know before believing it.
    """

    view: str = added(lambda: "flat")
    base: float
    score: float
    scale: str
    contributions: list[Contribution]
    summary: str = added(str)
    additivity_error: float
    standard_error: float | None = added(nothing)
    method: str
    background: BackgroundSample | str
    drift: float = added(float)
    neighbours: list[NeighbourEffects] | None = None
    notes: list[str] = added(list)
    warnings: list[str] = added(list)
