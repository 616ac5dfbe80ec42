"""What a model version says of itself: links, score, losses of the training."""

import math

from ml.contracts.reports.base import Report, added
from ml.contracts.reports.links import LinkReport
from ml.contracts.reports.metrics import Figures
from ml.contracts.reports.score import ScoreReport


class EpochLoss(Report, frozen=True, kw_only=True):
    """The mean loss of an epoch; of an edge type without pairs it is None."""

    epoch: int
    loss: float
    by_edge_type: dict[str, float | None] = added(dict)


class TaskMetrics(Report, frozen=True, kw_only=True):
    """The reports of a task's training; None: the task has not come to it."""

    links: LinkReport | None = None
    score: ScoreReport | None = None
    losses: list[EpochLoss] | None = None


class VersionMetrics(Report, frozen=True, kw_only=True):
    """The reports of a model version.

    Args:
        losses: None of versions from before they were kept.
    """

    links: LinkReport
    score: ScoreReport
    losses: list[EpochLoss] | None = None

    def by_name(self) -> dict[str, float]:
        """``links.mrr`` (mean over edge types), ``links.<edge type>.mrr``, ``score.auc`` …

        The model's alone, not the baselines'. What was not measured is left out. The names are
        those that ``ml.contracts.reports.metrics.MetricName`` knows.
        """
        named = _named("links", self.links.mean.model)
        for edge_type, row in self.links.edge_types.items():
            named |= _named(f"links.{edge_type}", row.model)
        return named | _named("score", self.score.fused)


def _named(about: str, figures: Figures) -> dict[str, float]:
    values = figures.known().items()
    return {f"{about}.{name}": value for name, value in values if math.isfinite(value)}
