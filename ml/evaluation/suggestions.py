"""What to do next, derived from slices by rules that can be read.

A suggestion names an action, its parameters and the evidence in numbers. ``augment`` is carried out
by the stage ``optimizing`` (``automatic`` is true); all others are advice for people. Nothing is
suggested on few cases, nor where the intervals of what is compared overlap.
"""

from collections.abc import Iterator, Mapping, Sequence

from ml.contracts.reports.evaluation import LinkSliceQuality, Slices, UserSliceQuality
from ml.contracts.reports.score import ScoreReport
from ml.contracts.reports.suggestions import EvidenceCase, Suggestion, SuggestionEvidence
from ml.evaluation.intervals import wilson
from ml.evaluation.link_notes import NAMES
from ml.evaluation.slices import MIN_CLASS, WHOLE, K

MIN_PAIRS = 50
MIN_SOURCES = 30
MIN_USERS = 100
FACTOR = (2, 4)
BIN_LEVEL = 0.995
"""Of the interval of one bin's observed share: there are ten bins to be wrong about."""
WARM, COOL, COLD = "cold 5+", "cold 1-4", "cold 0"
METRIC = f"recall_at_{K}"
USUAL = {"edges": "20+ edges", "attributes": "none missing"}
"""The slice of users that the others of the same kind are compared with."""


def suggest(
    slices: Slices, score: ScoreReport, sources_without: Mapping[str, int]
) -> list[Suggestion]:
    """All suggestions, those that can be carried out first, then by the size of the gap.

    Args:
        sources_without: By edge type, how many sources had no edge of it at the test cut.
    """
    found = [
        *_cold_sources(slices.links, sources_without),
        *_better_baselines(slices.links),
        *_weak_users(slices.users),
        *_off_the_mark(slices.users),
        *_off_bins(score),
        *_no_target(score),
    ]
    return sorted(found, key=lambda one: (not one.automatic, -(one.evidence.gap or 0.0)))


def _cold_sources(
    links: Sequence[LinkSliceQuality], without: Mapping[str, int]
) -> Iterator[Suggestion]:
    """Sources with few edges far behind those with five or more: augment; without any: collect."""
    by_type: dict[str, dict[str, LinkSliceQuality]] = {}
    for row in links:
        by_type.setdefault(row.edge_type, {})[row.slice] = row
    for name, slices in by_type.items():
        warm = slices.get(WARM)
        if warm is None or not _enough(warm):
            continue
        cool, cold = slices.get(COOL), slices.get(COLD)
        if cool is not None and _behind(cool, warm):
            yield Suggestion(
                action="augment",
                automatic=True,
                edge_type=name,
                factor=factor(cool.recall_at_20, warm.recall_at_20),
                sources="1-4",
                because=_against(cool, warm, f"{cool.source}s with 1–4 edges"),
                evidence=_evidence(cool, warm),
            )
        if cold is not None and _behind(cold, warm):
            many = without.get(name, 0)
            yield Suggestion(
                action="collect",
                automatic=False,
                edge_type=name,
                what="events",
                because=_against(cold, warm, f"{cold.source}s without edges")
                + f"; {many:,} {cold.source}s have none",
                evidence=_evidence(cold, warm, sources_without=many),
            )


def factor(value: float, against: float) -> int:
    """How many times the reference is better, whole and within ``FACTOR``."""
    low, high = FACTOR
    return high if value * high <= against else max(low, round(against / value))


def _better_baselines(links: Sequence[LinkSliceQuality]) -> Iterator[Suggestion]:
    """A baseline that needs no training clearly beats the model on a whole edge type."""
    for row in links:
        if row.slice != WHOLE or not _enough(row) or not row.baselines:
            continue
        best = max(row.baselines, key=lambda name: (row.baselines[name], name))
        value = row.baselines[best]
        low, high = wilson(value, row.effective)
        if low <= row.high:
            continue
        yield Suggestion(
            action="review",
            automatic=False,
            edge_type=row.edge_type,
            what="model",
            because=f"the baseline {NAMES[best]} beats the model: Recall@{K} {short(value)} (at "
            f"least {short(low)}) against {short(row.recall_at_20)} (at most {short(row.high)}) on "
            f"{row.pairs:,} pairs",
            evidence=SuggestionEvidence(
                metric=METRIC,
                baseline=best,
                gap=value - row.recall_at_20,
                slice=EvidenceCase(
                    value=row.recall_at_20, low=row.low, high=row.high, pairs=row.pairs,
                    sources=row.sources,
                ),
                against=EvidenceCase(value=value, low=low, high=high),
            ),
        )  # fmt: skip


def _weak_users(users: Sequence[UserSliceQuality]) -> Iterator[Suggestion]:
    """Users of whom little is known are scored worse: collect what they lack."""
    for about, usual in USUAL.items():
        areas = {row.slice: (row.users, _area(row)) for row in users if row.about == about}
        many, best = areas.pop(usual, (0, None))
        if best is None or many < MIN_USERS:
            continue
        for name, (count, area) in areas.items():
            if area is None or count < MIN_USERS or area.high >= best.low:
                continue
            yield Suggestion(
                action="collect",
                automatic=False,
                what="attributes" if about == "attributes" else "events",
                because=f"AUC {short(area.value)} (at most {short(area.high)}) on "
                f"{count:,} users, {name}, against {short(best.value)} (at least "
                f"{short(best.low)}) on {many:,} users, {usual}",
                evidence=SuggestionEvidence(
                    metric="auc", gap=best.value - area.value, slice=area, against=best
                ),
            )


def _off_the_mark(users: Sequence[UserSliceQuality]) -> Iterator[Suggestion]:
    """Users whose mean probability is not what happened to them."""
    for row in users:
        if row.about != "all":
            yield from _review(
                f"users, {row.slice}", row.slice, row.users, row.predicted, row.observed
            )


def _off_bins(score: ScoreReport) -> Iterator[Suggestion]:
    """Bins of the probability in which it does not hold."""
    for row in score.reliability:
        name = f"users scored {row.low:.1f} to {row.high:.1f}"
        yield from _review(name, name, row.count, row.predicted, row.observed)


def _review(
    who: str, name: str, users: int, predicted: float, observed: float
) -> Iterator[Suggestion]:
    """That a mean probability lies outside the interval of what happened, where it does."""
    if users < MIN_USERS:
        return
    low, high = wilson(observed, users, level=BIN_LEVEL)
    if low <= predicted <= high:
        return
    yield Suggestion(
        action="review",
        automatic=False,
        what="calibration",
        because=f"{who}: predicted {short(predicted, 3)}, observed {short(observed, 3)} "
        f"({short(low, 3)} to {short(high, 3)}) of {users:,}",
        evidence=SuggestionEvidence(
            metric="observed",
            gap=abs(predicted - observed),
            slice=EvidenceCase(
                name=name, predicted=predicted, users=users, value=observed, low=low, high=high
            ),
        ),
    )


def _no_target(score: ScoreReport) -> Iterator[Suggestion]:
    """A score trained on the rules can be measured against nothing."""
    if score.validated:
        return
    passed = "; ".join(score.passed_over)
    yield Suggestion(
        action="collect",
        automatic=False,
        what="label",
        because=f"the score is not validated: {passed}",
        evidence=SuggestionEvidence(min_users_of_each_class=MIN_CLASS, users=score.users),
    )


def _enough(row: LinkSliceQuality) -> bool:
    return row.pairs >= MIN_PAIRS and row.sources >= MIN_SOURCES


def _behind(row: LinkSliceQuality, reference: LinkSliceQuality) -> bool:
    return _enough(row) and row.high < reference.low


def _against(row: LinkSliceQuality, reference: LinkSliceQuality, who: str) -> str:
    return (
        f"Recall@{K} {short(row.recall_at_20)} (at most {short(row.high)}) on {who} against "
        f"{short(reference.recall_at_20)} (at least {short(reference.low)}) on those with 5 or "
        f"more: {_cases(row)}, {_cases(reference)}"
    )


def _cases(row: LinkSliceQuality) -> str:
    return f"{row.pairs:,} pairs of {row.sources:,} {row.source}s"


def _evidence(
    row: LinkSliceQuality, reference: LinkSliceQuality, sources_without: int | None = None
) -> SuggestionEvidence:
    return SuggestionEvidence(
        metric=METRIC,
        gap=reference.recall_at_20 - row.recall_at_20,
        slice=_share(row),
        against=_share(reference),
        sources_without=sources_without,
    )


def _share(row: LinkSliceQuality) -> EvidenceCase:
    return EvidenceCase(
        name=row.slice, value=row.recall_at_20, low=row.low, high=row.high, pairs=row.pairs,
        sources=row.sources,
    )  # fmt: skip


def _area(row: UserSliceQuality) -> EvidenceCase | None:
    """The AUC of a slice with its interval; None where it was not measured."""
    if row.auc is None or row.low is None or row.high is None:
        return None
    return EvidenceCase(
        name=row.slice, value=row.auc, low=row.low, high=row.high, users=row.users,
        positives=row.positives,
    )  # fmt: skip


def short(value: float, digits: int = 2) -> str:
    """A share as .08 or 1.00."""
    return f"{value:.{digits}f}".removeprefix("0")
