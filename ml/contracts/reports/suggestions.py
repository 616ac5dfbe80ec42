"""What to do next, with the evidence in numbers."""

from typing import Literal

from ml.contracts.reports.base import Report


class EvidenceCase(Report, frozen=True, kw_only=True):
    """One side of a comparison; a figure that says nothing of it is None."""

    name: str | None = None
    value: float
    low: float
    high: float
    pairs: int | None = None
    sources: int | None = None
    users: int | None = None
    positives: int | None = None
    predicted: float | None = None


class SuggestionEvidence(Report, frozen=True, kw_only=True):
    """What a suggestion rests on.

    Args:
        gap: How far the slice is behind what it is compared with.
        sources_without: Sources that have no edge of the type.
        min_users_of_each_class: What a target needs; the dataset has ``users``.
    """

    metric: str | None = None
    baseline: str | None = None
    gap: float | None = None
    slice: EvidenceCase | None = None
    against: EvidenceCase | None = None
    sources_without: int | None = None
    min_users_of_each_class: int | None = None
    users: int | None = None


class Suggestion(Report, frozen=True, kw_only=True):
    """An action, its parameters, and why.

    Args:
        automatic: Whether the next iteration carries it out; else it is advice for people.
        what: To be collected or reviewed.
        factor: How many times as many edges; ``sources``: of those with so many, as ``1-4``.
        because: A sentence.
    """

    action: Literal["augment", "collect", "review"]
    automatic: bool
    edge_type: str | None = None
    what: str | None = None
    factor: int | float | None = None
    sources: str | None = None
    because: str
    evidence: SuggestionEvidence
