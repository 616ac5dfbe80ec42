"""What to do next, derived from slices by rules that can be read.

A suggestion names an action, its parameters and the evidence in numbers. ``augment`` is carried out
by the stage ``optimizing`` (``automatic`` is true); all others are advice for people. Nothing is
suggested on few cases, nor where the intervals of what is compared overlap.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml.evaluation.intervals import wilson
from ml.evaluation.link_notes import NAMES
from ml.evaluation.slices import MIN_CLASS, WHOLE, K

AUGMENT, COLLECT, REVIEW = "augment", "collect", "review"

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

Row = Mapping[str, Any]
Suggestion = dict[str, Any]


def suggest(
    links: Sequence[Row], users: Sequence[Row], score: Row, sources_without: Mapping[str, int]
) -> list[Suggestion]:
    """All suggestions, those that can be carried out first, then by the size of the gap.

    Args:
        links: Of ``ml.evaluation.slices.link_slices``.
        users: Of ``ml.evaluation.slices.user_slices``.
        score: The report of the score.
        sources_without: By edge type, how many sources had no edge of it at the test cut.
    """
    found = [
        *_cold_sources(links, sources_without),
        *_better_baselines(links),
        *_weak_users(users),
        *_off_the_mark(users),
        *_off_bins(score),
        *_no_target(score),
    ]
    return sorted(found, key=lambda one: (not one["automatic"], -one["evidence"].get("gap", 0.0)))


def _cold_sources(links: Sequence[Row], without: Mapping[str, int]) -> Iterator[Suggestion]:
    """Sources with few edges far behind those with five or more: augment; without any: collect."""
    by_type: dict[str, dict[str, Row]] = {}
    for row in links:
        by_type.setdefault(row["edge_type"], {})[row["slice"]] = row
    for name, slices in by_type.items():
        warm = slices.get(WARM)
        if warm is None or not _enough(warm):
            continue
        cool, cold = slices.get(COOL), slices.get(COLD)
        if cool is not None and _behind(cool, warm):
            yield {
                "action": AUGMENT, "automatic": True, "edge_type": name,
                "factor": factor(cool[METRIC], warm[METRIC]), "sources": "1-4",
                "because": _against(cool, warm, f"{cool['source']}s with 1–4 edges"),
                "evidence": _evidence(cool, warm),
            }  # fmt: skip
        if cold is not None and _behind(cold, warm):
            many = without.get(name, 0)
            yield {
                "action": COLLECT, "automatic": False, "edge_type": name, "what": "events",
                "because": _against(cold, warm, f"{cold['source']}s without edges")
                + f"; {many:,} {cold['source']}s have none",
                "evidence": {**_evidence(cold, warm), "sources_without": many},
            }  # fmt: skip


def factor(value: float, against: float) -> int:
    """How many times the reference is better, whole and within ``FACTOR``."""
    low, high = FACTOR
    return high if value * high <= against else max(low, round(against / value))


def _better_baselines(links: Sequence[Row]) -> Iterator[Suggestion]:
    """A baseline that needs no training clearly beats the model on a whole edge type."""
    for row in links:
        if row["slice"] != WHOLE or not _enough(row) or not row["baselines"]:
            continue
        best = max(row["baselines"], key=lambda name: (row["baselines"][name], name))
        value = row["baselines"][best]
        low, high = wilson(value, row["effective"])
        if low <= row["high"]:
            continue
        yield {
            "action": REVIEW, "automatic": False, "edge_type": row["edge_type"], "what": "model",
            "because": f"the baseline {NAMES[best]} beats the model: Recall@{K} {short(value)} (at "
            f"least {short(low)}) against {short(row[METRIC])} (at most {short(row['high'])}) on "
            f"{row['pairs']:,} pairs",
            "evidence": {
                "metric": METRIC, "baseline": best, "gap": value - row[METRIC],
                "slice": {"value": row[METRIC], "low": row["low"], "high": row["high"],
                          "pairs": row["pairs"], "sources": row["sources"]},
                "against": {"value": value, "low": low, "high": high},
            },
        }  # fmt: skip


def _weak_users(users: Sequence[Row]) -> Iterator[Suggestion]:
    """Users of whom little is known are scored worse: collect what they lack."""
    for about, usual in USUAL.items():
        rows = {row["slice"]: row for row in users if row["about"] == about and "auc" in row}
        best = rows.pop(usual, None)
        if best is None or best["users"] < MIN_USERS:
            continue
        for name, row in rows.items():
            if row["users"] < MIN_USERS or row["high"] >= best["low"]:
                continue
            yield {
                "action": COLLECT, "automatic": False,
                "what": "attributes" if about == "attributes" else "events",
                "because": f"AUC {short(row['auc'])} (at most {short(row['high'])}) on "
                f"{row['users']:,} users, {name}, against {short(best['auc'])} (at least "
                f"{short(best['low'])}) on {best['users']:,} users, {usual}",
                "evidence": {
                    "metric": "auc", "gap": best["auc"] - row["auc"],
                    "slice": _area(row), "against": _area(best),
                },
            }  # fmt: skip


def _off_the_mark(users: Sequence[Row]) -> Iterator[Suggestion]:
    """Users whose mean probability is not what happened to them."""
    for row in users:
        if row["about"] == "all" or row["users"] < MIN_USERS:
            continue
        low, high = wilson(row["observed"], row["users"], level=BIN_LEVEL)
        if low <= row["predicted"] <= high:
            continue
        yield _review(f"users, {row['slice']}", row, low, high)


def _off_bins(score: Row) -> Iterator[Suggestion]:
    """Bins of the probability in which it does not hold."""
    for row in score.get("reliability", []):
        if row["count"] < MIN_USERS:
            continue
        low, high = wilson(row["observed"], row["count"], level=BIN_LEVEL)
        if low <= row["predicted"] <= high:
            continue
        name = f"users scored {row['from']:.1f} to {row['to']:.1f}"
        yield _review(name, {**row, "users": row["count"], "slice": name}, low, high)


def _review(name: str, row: Row, low: float, high: float) -> Suggestion:
    return {
        "action": REVIEW, "automatic": False, "what": "calibration",
        "because": f"{name}: predicted {short(row['predicted'], 3)}, observed "
        f"{short(row['observed'], 3)} ({short(low, 3)} to {short(high, 3)}) of {row['users']:,}",
        "evidence": {
            "metric": "observed", "gap": abs(row["predicted"] - row["observed"]),
            "slice": {"name": row["slice"], "predicted": row["predicted"], "users": row["users"],
                      "value": row["observed"], "low": low, "high": high},
        },
    }  # fmt: skip


def _no_target(score: Row) -> Iterator[Suggestion]:
    """A score trained on the rules can be measured against nothing."""
    if score.get("validated") is not False:
        return
    passed = "; ".join(score.get("passed_over", []))
    yield {
        "action": COLLECT, "automatic": False, "what": "label",
        "because": f"the score is not validated: {passed}",
        "evidence": {"min_users_of_each_class": MIN_CLASS, "users": score.get("users")},
    }  # fmt: skip


def _enough(row: Row) -> bool:
    return bool(row["pairs"] >= MIN_PAIRS and row["sources"] >= MIN_SOURCES)


def _behind(row: Row, reference: Row) -> bool:
    return _enough(row) and bool(row["high"] < reference["low"])


def _against(row: Row, reference: Row, who: str) -> str:
    return (
        f"Recall@{K} {short(row[METRIC])} (at most {short(row['high'])}) on {who} against "
        f"{short(reference[METRIC])} (at least {short(reference['low'])}) on those with 5 or more: "
        f"{_cases(row)}, {_cases(reference)}"
    )


def _cases(row: Row) -> str:
    return f"{row['pairs']:,} pairs of {row['sources']:,} {row['source']}s"


def _evidence(row: Row, reference: Row) -> dict[str, Any]:
    parts = {"slice": row, "against": reference}
    told = {
        name: {
            "name": one["slice"], "value": one[METRIC],
            **{key: one[key] for key in ("low", "high", "pairs", "sources")},
        }
        for name, one in parts.items()
    }  # fmt: skip
    return {"metric": METRIC, "gap": reference[METRIC] - row[METRIC], **told}


def _area(row: Row) -> dict[str, Any]:
    return {
        "name": row["slice"], "value": row["auc"],
        **{key: row[key] for key in ("low", "high", "users", "positives")},
    }  # fmt: skip


def short(value: float, digits: int = 2) -> str:
    """A share as .08 or 1.00."""
    return f"{value:.{digits}f}".removeprefix("0")
