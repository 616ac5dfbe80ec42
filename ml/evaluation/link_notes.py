"""What the numbers of the link report mean, in plain sentences."""

from ml.contracts.reports.links import EdgeTypeReport, LinkSlice
from ml.contracts.reports.metrics import LinkMetric, LinkMetrics

NAMES = {
    "popularity": "popularity",
    "repeat": "repeat edges",
    "item_knn": "item-kNN",
    "ease": "EASE",
}
METRICS: dict[LinkMetric, str] = {
    "mrr": "MRR",
    "hits_at_1": "Hits@1",
    "hits_at_10": "Hits@10",
    "recall_at_20": "Recall@20",
    "ndcg_at_10": "NDCG@10",
    "ndcg_at_20": "NDCG@20",
    "user_ndcg_at_10": "NDCG@10 of lists",
    "user_recall_at_10": "Recall@10 of lists",
    "auc": "AUC",
    "average_precision": "AP",
    "auc_historical": "AUC (historical negatives)",
    "average_precision_historical": "AP (historical negatives)",
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


def link_notes(name: str, row: EdgeTypeReport) -> list[str]:
    """Where a baseline beats the model, by edge type and metric, as shown with three digits.

    Args:
        name: Of the edge type.
    """
    notes = [f"{name}: {NAMES[method]}: {why}" for method, why in row.left_out.items()]
    if not row.evaluated:
        return notes
    baselines = {name: metrics for name, metrics in row.measured().items() if name in NAMES}
    for method, baseline in baselines.items():
        better = _better(row.model, baseline)
        if better:
            beaten = ", ".join(
                f"{METRICS[metric]} {theirs:.3f} against {ours:.3f}"
                for metric, theirs, ours in better
            )
            notes.append(f"{name}: the baseline {NAMES[method]} is better than the model: {beaten}")
    for part, words in SLICES.items():
        if part in row.slices:
            notes += _slice_note(name, words, row.slices[part])
    return notes


def _better(model: LinkMetrics, other: LinkMetrics) -> list[tuple[LinkMetric, float, float]]:
    """Metrics by which the other one beats the model, with its value and the model's."""
    ours, theirs = model.known(), other.known()
    pairs = [(m, round(theirs[m], 3), round(ours[m], 3)) for m in METRICS if m in theirs]
    return [(metric, value, against) for metric, value, against in pairs if value > against]


def _slice_note(name: str, words: str, part: LinkSlice) -> list[str]:
    """The best baseline of a slice, where its MRR beats the model's."""
    if part.evaluated < FEW:
        return []
    mrr = {
        method: round(metrics.mrr, 3)
        for method, metrics in part.measured().items()
        if metrics.mrr is not None
    }
    best = max((method for method in mrr if method != "model"), key=lambda method: mrr[method])
    if mrr[best] <= mrr["model"]:
        return []
    return [
        f"{name}: {words} the baseline {NAMES[best]} is better than the model: MRR "
        f"{mrr[best]:.3f} against {mrr['model']:.3f}"
    ]
