"""The metrics of a model version as one flat table of names: what a task can be told to watch."""

import math
from collections.abc import Mapping
from typing import Any

WORDS = {
    "ap": "average_precision",
    "ap_historical": "average_precision_historical",
    "ece": "calibration_error",
}
SCORE = ("auc", "ap", "brier", "ece")


def flat_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """``links.mrr`` (unweighted mean over edge types), ``links.<edge type>.mrr``, ``score.auc`` …

    The model's alone, not the baselines'. What was not measured is left out. ``@`` is written
    ``_at_``, ``ap`` ``average_precision``, ``ece`` ``calibration_error``.

    Args:
        metrics: Of a model version: the reports ``links`` and ``score``.
    """
    links, score = metrics.get("links", {}), metrics.get("score", {})
    named = {f"links.{metric_name(m)}": v for m, v in _of_model(links.get("mean", {})).items()}
    for edge, row in links.get("edge_types", {}).items():
        for metric, value in _of_model(row).items():
            named[f"links.{edge}.{metric_name(metric)}"] = value
    for metric in SCORE:
        named[f"score.{metric_name(metric)}"] = score.get(metric)
    return {
        name: float(value)
        for name, value in named.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def metric_name(metric: str) -> str:
    """The name of a metric as it stands in the flat table."""
    return WORDS.get(metric, metric).replace("@", "_at_")


def _of_model(row: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = row.get("model", {})
    return found
