"""What the fused score is trained on: a label, else future behaviour, else the rules."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.contracts.reports.score import TargetKind
from ml.contracts.schema import USER, EdgeType
from ml.graph.graph import Graph

Mask = npt.NDArray[np.bool_]

MIN_CLASS = 20
"""Users of each class below which a target is not one to learn from."""
HORIZON_DAYS = 30
"""How far into the future behaviour is looked at, where the data reach so far."""
DAY = 86_400


@dataclass(frozen=True)
class ScoreTarget:
    """What the score predicts.

    Args:
        y: Shape: [n].
        known: Users that have a target. Shape: [n].
        what: What a 1 means, in words.
        passed_over: Why the targets that come before this one were not used.
        cut: Seconds at which future behaviour begins: nothing after it may be seen.
        horizon_days: Days of it that are looked at.
    """

    kind: TargetKind
    y: npt.NDArray[np.float64]
    known: Mask
    what: str = ""
    passed_over: tuple[str, ...] = ()
    cut: int | None = None
    horizon_days: float | None = None

    @property
    def validated(self) -> bool:
        """Whether it says something that the rules do not say themselves."""
        return self.kind != "rules"

    @property
    def since(self) -> str | None:
        """The cut as a date."""
        return None if self.cut is None else _date(self.cut)


def choose_target(
    graph: Graph,
    *,
    cut: int | None,
    rule_score: npt.NDArray[np.floating[Any]],
    horizon_days: int = HORIZON_DAYS,
) -> ScoreTarget:
    """The uploaded label; else who falls silent, or first orders a product, after the cut; else,
    not validated, the rules. The first that has ``MIN_CLASS`` users of each class.

    Args:
        graph: All that is known, with the times after the cut.
        cut: Seconds; None in untimed data. Evidence for ``future behaviour`` must come from
            before it.
        rule_score: From -1 to 1. Shape: [users].
        horizon_days: At most; less where the data end sooner.
    """
    reasons: list[str] = []
    for target in (_label(graph), *_futures(graph, cut, horizon_days)):
        if isinstance(target, str):
            reasons.append(target)
        elif too_few := _too_few(target):
            reasons.append(f"{target.what}: {too_few}")
        else:
            return replace(target, passed_over=tuple(reasons))
    everybody = np.ones(len(rule_score), bool)
    y = (np.asarray(rule_score, np.float64) + 1) / 2
    return ScoreTarget("rules", y, everybody, "what the rules say", tuple(reasons))


def _label(graph: Graph) -> ScoreTarget | str:
    name = graph.schema.label
    if name is None or graph.labels is None:
        return "label: the dataset has none"
    known = graph.labels >= 0
    if not known.any():
        return f"label {name}: no user has a value"
    return ScoreTarget("label", graph.labels.astype(np.float64), known, f"label {name}")


def _futures(graph: Graph, cut: int | None, horizon_days: int) -> list[ScoreTarget | str]:
    times = [edges.time.max() for edges in graph.edges.values() if edges.time is not None]
    if cut is None or not times:
        return ["future behaviour: the events have no times to cut at"]
    end = min(cut + horizon_days * DAY, int(max(times)) + 1)
    days = round((end - cut) / DAY, 2)
    y, known = inactive_after(graph, cut, end)
    span = f"in the {days:g} days from {_date(cut)}"
    silent = ScoreTarget("future behaviour", y, known, f"no event {span}", (), cut, days)
    order = _order_edge(graph)
    if order is None:
        return [silent, "first order of a product: there are no timed events with products"]
    product, y, known = first_order(graph, order, cut, end)
    what = f"first {order.event} of {order.target} {graph.node_ids[order.target][product]} {span}"
    return [silent, ScoreTarget("future behaviour", y, known, what, (), cut, days)]


def inactive_after(
    graph: Graph, cut: int, end: int | None = None
) -> tuple[npt.NDArray[np.float64], Mask]:
    """Users that act before ``cut`` (the mask) and not from there to ``end`` (1.0).

    Shapes: [users], [users].
    """
    users = graph.num_nodes[USER]
    early, late = np.zeros(users, bool), np.zeros(users, bool)
    for (source, _, _), edges in graph.edges.items():
        if source == USER and edges.time is not None:
            after = edges.time >= cut
            early[edges.src[~after]] = True
            late[edges.src[after if end is None else after & (edges.time < end)]] = True
    return (~late).astype(np.float64), early


def first_order(
    graph: Graph, edge: EdgeType, cut: int, end: int
) -> tuple[int, npt.NDArray[np.float64], Mask]:
    """The product with the most first orders between ``cut`` and ``end``, who makes one (1.0), and
    who could: users that act before ``cut`` and have not ordered it by then (the mask).

    Shapes: [users], [users].
    """
    edges, users = graph.edges[edge.key], graph.num_nodes[USER]
    assert edges.time is not None
    products = graph.num_nodes[edge.target]
    pair = edges.src * products + edges.dst
    before, during = edges.time < cut, (edges.time >= cut) & (edges.time < end)
    _, early = inactive_after(graph, cut)
    new = np.setdiff1d(pair[during], pair[before])
    new = new[early[new // products]]
    product = int(np.bincount(new % products, minlength=products).argmax())
    y = np.zeros(users)
    y[new[new % products == product] // products] = 1.0
    known = early.copy()
    known[edges.src[before & (edges.dst == product)]] = False
    return product, y, known


def _order_edge(graph: Graph) -> EdgeType | None:
    """The timed relation of users to products: orders, else the first there is."""
    candidates = [
        edge
        for edge in graph.schema.edges
        if edge.source == USER and edge.target == "product" and len(graph.edges[edge.key])
        if graph.edges[edge.key].time is not None
    ]
    return next(
        (edge for edge in candidates if edge.event == "order"),
        candidates[0] if candidates else None,
    )


def _too_few(target: ScoreTarget) -> str:
    """Why nothing can be learned from a target; empty if it can."""
    y = target.y[target.known]
    positive = int((y > 0).sum())
    negative = len(y) - positive
    if min(positive, negative) >= MIN_CLASS:
        return ""
    return f"{positive} users with and {negative} without, {MIN_CLASS} of each are needed"


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
