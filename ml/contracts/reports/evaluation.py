"""The long report of a version: slices with intervals, worst cases, suggestions."""

from typing import Literal

from ml.contracts.reports.base import Report
from ml.contracts.reports.links import LinkReport
from ml.contracts.reports.score import ScoreReport
from ml.contracts.reports.suggestions import Suggestion


class LinkSliceQuality(Report, frozen=True, kw_only=True):
    """Recall@20 of the model on a slice of held-out pairs, with its interval.

    Args:
        source: Node type.
        slice: ``all``, ``repeat``, ``new``, ``cold …``.
        effective: How many cases the pairs count for.
        baselines: Recall@20 by method.
    """

    edge_type: str
    source: str
    slice: str
    pairs: int
    sources: int
    effective: float
    recall_at_20: float
    low: float
    high: float
    baselines: dict[str, float]


class UserSliceQuality(Report, frozen=True, kw_only=True):
    """Quality of the score on a slice of held-out users.

    Args:
        about: What the slice is by: ``all``, ``edges``, ``attributes``, ``rules``.
        predicted: Mean probability; ``observed``: share with outcome 1, with its interval.
        auc: With ``low``, ``high`` and ``boosting_auc`` None where a class has too few users.
    """

    about: str
    slice: str
    users: int
    positives: int
    predicted: float
    observed: float
    observed_low: float
    observed_high: float
    brier: float
    calibration_error: float
    auc: float | None = None
    low: float | None = None
    high: float | None = None
    boosting_auc: float | None = None


class Slices(Report, frozen=True, kw_only=True):
    """Quality by slice, of links and of the score."""

    links: list[LinkSliceQuality]
    users: list[UserSliceQuality]


class WorstLink(Report, frozen=True, kw_only=True):
    """A held-out pair that the model ranked badly, and what was known of it.

    Args:
        of: Candidates that it was ranked among.
        source_targets: Distinct targets of the source; ``source_edges``: its neighbours by all
            edge types; ``target_sources``: distinct sources of the target.
        target_place: Of ``targets``, by popularity.
        common: Targets of the source that another source of this target had.
        why: Sentences.
    """

    edge_type: str
    source_type: str
    source: str
    target_type: str
    target: str
    target_name: str | None
    rank: float
    of: int
    known_before: bool
    source_targets: int
    source_edges: int
    target_sources: int
    target_place: int
    targets: int
    common: int
    why: list[str]


class WorstUser(Report, frozen=True, kw_only=True):
    """A held-out user whom the score got wrong, and what was known of it.

    Args:
        kind: Missed: it happened and the score was low.
        rules: Probability by the rules alone; likewise ``boosting``.
        edges: Neighbours by edge type.
        missing: Attributes without a value.
        why: Sentences.
    """

    kind: Literal["missed", "false alarm"]
    user_id: str
    score: float
    outcome: int
    error: float
    rules: float
    boosting: float
    edges: dict[str, int]
    missing: list[str]
    rule_hits: list[str]
    rule_score: float
    why: list[str]


class WorstCases(Report, frozen=True, kw_only=True):
    """The largest errors, of links and of the score."""

    links: list[WorstLink]
    users: list[WorstUser]


class Evaluation(Report, frozen=True, kw_only=True):
    """What a version can do, where it fails, and what may help.

    Args:
        metrics: By name; None where they are stored beside the report.
        links: Of the training; likewise ``score``.
        notes: Sentences.
        intervals: How they were made, in words.
    """

    format: int
    metrics: dict[str, float] | None = None
    links: LinkReport
    score: ScoreReport
    slices: Slices
    worst: WorstCases
    suggestions: list[Suggestion]
    notes: list[str]
    intervals: str
    seed: int
