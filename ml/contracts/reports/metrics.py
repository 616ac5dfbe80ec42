"""Figures of links and of scores, and the names by which they are known.

A field's name is its name in the flat table of a version (``links.average_precision``); reports
are written with the short ones (``ap``).
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec

from ml.contracts.reports.base import Report

LINK_KEYS = {
    "hits_at_1": "hits@1",
    "hits_at_10": "hits@10",
    "recall_at_20": "recall@20",
    "ndcg_at_10": "ndcg@10",
    "ndcg_at_20": "ndcg@20",
    "user_ndcg_at_10": "user_ndcg@10",
    "user_recall_at_10": "user_recall@10",
    "average_precision": "ap",
    "average_precision_historical": "ap_historical",
}
SCORE_KEYS = {"average_precision": "ap", "calibration_error": "ece"}

LinkMetric = Literal[
    "mrr", "hits_at_1", "hits_at_10", "recall_at_20", "ndcg_at_10", "ndcg_at_20",
    "user_ndcg_at_10", "user_recall_at_10", "auc", "average_precision", "auc_historical",
    "average_precision_historical",
]  # fmt: skip
ScoreMetric = Literal["auc", "average_precision", "brier", "calibration_error"]
LINK_METRICS: tuple[LinkMetric, ...] = get_args(LinkMetric)
SCORE_METRICS: tuple[ScoreMetric, ...] = get_args(ScoreMetric)
LOWER_IS_BETTER = frozenset({"brier", "calibration_error"})


class Figures(Report, frozen=True, kw_only=True):
    """Figures by name, each of which may be missing."""

    def known(self) -> dict[str, float]:
        """Those that were measured, by the name of their field."""
        values = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return {name: value for name, value in values if value is not None}


class LinkMetrics(Figures, frozen=True, kw_only=True, rename=LINK_KEYS):
    """How one method ranks the held-out targets; None: not measured.

    Args:
        user_ndcg_at_10: Of the list that a source is shown, averaged over sources; likewise
            ``user_recall_at_10``.
        auc: Against a random target; ``auc_historical`` against one of the source's past.
    """

    mrr: float | None = None
    hits_at_1: float | None = None
    hits_at_10: float | None = None
    recall_at_20: float | None = None
    ndcg_at_10: float | None = None
    ndcg_at_20: float | None = None
    user_ndcg_at_10: float | None = None
    user_recall_at_10: float | None = None
    auc: float | None = None
    average_precision: float | None = None
    auc_historical: float | None = None
    average_precision_historical: float | None = None


class ScoreMetrics(Figures, frozen=True, kw_only=True, rename=SCORE_KEYS):
    """How well one method foretells the outcome of users it has not seen."""

    auc: float | None = None
    average_precision: float | None = None
    brier: float | None = None
    calibration_error: float | None = None


class UnknownMetric(ValueError):
    """A name that no metric has."""


@dataclass(frozen=True)
class MetricName:
    """The name of a metric of a model version: ``links.mrr``, ``score.auc``.

    Args:
        edge_type: Of a metric of one edge type alone, as ``links.user-calls-user.mrr``; None: the
            mean over all.
    """

    about: Literal["links", "score"]
    metric: LinkMetric | ScoreMetric
    edge_type: str | None = None

    def __str__(self) -> str:
        return ".".join(part for part in (self.about, self.edge_type, self.metric) if part)

    @property
    def higher_is_better(self) -> bool:
        return self.metric not in LOWER_IS_BETTER

    @classmethod
    def parse(cls, text: str) -> "MetricName":
        """Read a name; whether a version has that edge type is not asked.

        Raises:
            UnknownMetric: if there is no such metric.
        """
        about, _, rest = text.partition(".")
        edge_type, _, metric = rest.rpartition(".")
        for name in LINK_METRICS if about == "links" else ():
            if metric == name:
                return cls("links", name, edge_type or None)
        for score_name in SCORE_METRICS if about == "score" and not edge_type else ():
            if metric == score_name:
                return cls("score", score_name)
        raise UnknownMetric(
            f"there is no metric {text!r}, expected links.<metric> or links.<edge type>.<metric> "
            f"with one of {', '.join(LINK_METRICS)}, or score.<metric> with one of "
            f"{', '.join(SCORE_METRICS)}"
        )


def stored_name(figures: type[Figures], field: str) -> str:
    """The key that a figure has in stored reports: ``hits@1``."""
    keys: dict[str, Any] = {one.name: one.encode_name for one in msgspec.structs.fields(figures)}
    return str(keys[field])
