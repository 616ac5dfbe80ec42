"""The report on held-out links: the model beside the baselines, edge type by edge type."""

from ml.contracts.reports.base import Report, added
from ml.contracts.reports.metrics import LinkMetrics

UNMEASURED = LinkMetrics()


class Methods(Report, frozen=True, kw_only=True):
    """Metrics by method; a method that was not measured has none."""

    model: LinkMetrics = UNMEASURED
    popularity: LinkMetrics = UNMEASURED
    repeat: LinkMetrics = UNMEASURED
    item_knn: LinkMetrics = UNMEASURED
    ease: LinkMetrics = UNMEASURED

    def measured(self) -> dict[str, LinkMetrics]:
        """The methods that have a metric, by name, the model first."""
        by_name = {
            "model": self.model,
            "popularity": self.popularity,
            "repeat": self.repeat,
            "item_knn": self.item_knn,
            "ease": self.ease,
        }
        return {name: metrics for name, metrics in by_name.items() if metrics.known()}


class LinkSlice(Methods, frozen=True, kw_only=True):
    """A part of the held-out pairs of an edge type.

    Args:
        evaluated: How many pairs it has.
    """

    evaluated: int


class EdgeTypeReport(Methods, frozen=True, kw_only=True):
    """Held-out links of one edge type.

    Args:
        split: How its pairs were held out.
        held_out: Distinct pairs that were held out; ``evaluated`` of them were asked about.
        historical: Pairs with a negative from the source's own past.
        left_out: Why a baseline says nothing, or nothing of some targets, by its name.
        slices: By name: ``repeat``, ``new``, ``cold …``.
    """

    split: str
    held_out: int
    evaluated: int
    historical: int = added(int)
    left_out: dict[str, str] = added(dict)
    slices: dict[str, LinkSlice]


class LinkReport(Report, frozen=True, kw_only=True):
    """How well held-out links are found.

    Args:
        edge_types: By name of the edge type.
        mean: Unweighted over the edge types that were evaluated.
        notes: Sentences where a baseline is better than the model.
        protocol: How true targets are ranked.
        negatives: What AUC and AP compare them with, by kind.
    """

    edge_types: dict[str, EdgeTypeReport]
    mean: Methods
    notes: list[str] = added(list)
    protocol: str
    negatives: dict[str, str] = added(dict)
    seed: int
