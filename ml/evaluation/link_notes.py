"""What the numbers of the link report mean, in plain sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

NAMES = {
    "popularity": "popularity",
    "repeat": "repeat edges",
    "item_knn": "item-kNN",
    "ease": "EASE",
}
METRICS = {
    "mrr": "MRR",
    "hits@1": "Hits@1",
    "hits@10": "Hits@10",
    "recall@20": "Recall@20",
    "ndcg@10": "NDCG@10",
    "ndcg@20": "NDCG@20",
    "user_ndcg@10": "NDCG@10 of lists",
    "user_recall@10": "Recall@10 of lists",
    "auc": "AUC",
    "ap": "AP",
    "auc_historical": "AUC (historical negatives)",
    "ap_historical": "AP (historical negatives)",
}
SLICES = {
    "repeat": "among pairs that were there before",
    "new": "among pairs that are new",
    "cold 0": "for sources without edges",
    "cold 1-4": "for sources with 1 to 4 edges",
    "cold 5+": "for sources with 5 edges or more",
}
FEW = 30
"""Pairs of a slice below which nothing is said of it."""


def link_notes(name: str, row: Mapping[str, Any], baselines: Sequence[str]) -> list[str]:
    """Where a baseline beats the model, by edge type and metric, as shown with three digits.

    Args:
        name: Of the edge type.
        row: Its part of the report.
    """
    notes = [f"{name}: {NAMES[method]}: {why}" for method, why in row.get("left_out", {}).items()]
    if not row["evaluated"]:
        return notes
    for method in baselines:
        better = _better(row["model"], row.get(method, {}))
        if better:
            found = ", ".join(
                f"{METRICS[metric]} {theirs:.3f} against {ours:.3f}"
                for metric, theirs, ours in better
            )
            notes.append(f"{name}: the baseline {NAMES[method]} is better than the model: {found}")
    for part, words in SLICES.items():
        notes += _slice_note(name, words, row["slices"].get(part, {}), baselines)
    return notes


def _better(
    model: Mapping[str, float], other: Mapping[str, float]
) -> list[tuple[str, float, float]]:
    """Metrics by which the other one beats the model, with its value and the model's."""
    pairs = [(m, round(other[m], 3), round(model[m], 3)) for m in METRICS if m in other]
    return [(metric, theirs, ours) for metric, theirs, ours in pairs if theirs > ours]


def _slice_note(
    name: str, words: str, part: Mapping[str, Any], baselines: Sequence[str]
) -> list[str]:
    """The best baseline of a slice, where its MRR beats the model's."""
    if part.get("evaluated", 0) < FEW:
        return []
    mrr = {method: round(part[method]["mrr"], 3) for method in baselines if part.get(method)}
    best, ours = max(mrr, key=lambda method: mrr[method]), round(part["model"]["mrr"], 3)
    if mrr[best] <= ours:
        return []
    return [
        f"{name}: {words} the baseline {NAMES[best]} is better than the model: MRR "
        f"{mrr[best]:.3f} against {ours:.3f}"
    ]
