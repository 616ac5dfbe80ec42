"""The strongest single neighbours: how much the score would lack without one of them."""

from collections import Counter
from typing import Any

import numpy as np
import polars as pl

from ml.contracts.reports.explanation import NeighbourEffect, NeighbourEffects
from ml.contracts.schema import USER
from ml.explanation.counterfactual import CounterfactualUser
from ml.explanation.players import Kinds
from ml.fusion.evidence import COUNT_PREFIX, Evidence
from ml.fusion.fusion import score
from ml.fusion.scoring import ProfileModel
from ml.graph.graph import Graph

STRONGEST = 5
TRIED = 64
"""Neighbours a kind that are tried, those with most events first."""

METHOD = (
    "Leave one out: the score minus the score without this neighbour's edges and events of this "
    "kind, rules and everything else as they are. These are no Shapley values and don't add up."
)

Neighbour = tuple[str, int]
"""Node type and index."""


def strongest_neighbours(
    model: ProfileModel,
    user: CounterfactualUser,
    graph: Graph,
    evidence: Evidence,
    frame: pl.DataFrame,
    *,
    most: int = STRONGEST,
    tried: int = TRIED,
) -> list[NeighbourEffects]:
    """For each kind of events: the neighbours without which the score changes most.

    Args:
        evidence: Of the one user.
        frame: The user's profile frame, one row.

    Returns:
        Of the kinds that have neighbours.
    """
    kinds = Kinds.of(model.schema)
    by_kind, acted = _by_kind(user)
    candidates = [
        (kind, neighbour)
        for kind, of_kind in sorted(by_kind.items())
        for neighbour, _ in sorted(of_kind.items(), key=lambda item: (-item[1], item[0]))[:tried]
    ]
    if not candidates:
        return []
    parts = _contributions(model, user, kinds, evidence, frame, candidates, acted)
    answer = []
    for kind in sorted(by_kind):
        rows = [
            _row(graph, neighbour, by_kind[kind][neighbour], part)
            for (of_kind, neighbour), part in zip(candidates, parts, strict=True)
            if of_kind == kind
        ]
        rows.sort(key=lambda row: -abs(row.contribution))
        answer.append(
            NeighbourEffects(
                player=kinds.names[kind],
                neighbours=len(by_kind[kind]),
                tried=len(rows),
                strongest=rows[:most],
            )
        )
    return answer


def _by_kind(user: CounterfactualUser) -> tuple[dict[int, Counter[Neighbour]], Counter[Any]]:
    """Events with each neighbour by kind, and those of them that the user did."""
    by_kind: dict[int, Counter[Neighbour]] = {}
    acted: Counter[Any] = Counter()
    for message, sources in user.neighbourhood.sources.items():
        kind = user.kind_of[message]
        events = user.neighbourhood.events[message]
        for source, count in zip(sources.tolist(), events.tolist(), strict=True):
            by_kind.setdefault(kind, Counter())[message.source, source] += count
            if message.reverse:
                acted[kind, message.source, source] += count
    return by_kind, acted


def _contributions(
    model: ProfileModel,
    user: CounterfactualUser,
    kinds: Kinds,
    evidence: Evidence,
    frame: pl.DataFrame,
    candidates: list[tuple[int, Neighbour]],
    acted: Counter[Any],
) -> list[float]:
    """The score minus the score without each candidate; all in one batch, everybody first."""
    rows = 1 + len(candidates)
    masks = {
        message: np.ones((rows, len(s)), bool) for message, s in user.neighbourhood.sources.items()
    }
    counts = {name: [frame[name][0] or 0] * rows for name in model.encoder.counts}
    for row, (kind, (node_type, index)) in enumerate(candidates, 1):
        for message, mask in masks.items():
            if user.kind_of[message] == kind and message.source == node_type:
                mask[row, user.neighbourhood.sources[message] == index] = False
        name = COUNT_PREFIX + kinds.events[kind - 1]
        if name in counts:
            counts[name][row] = max(0, counts[name][row] - acted[kind, node_type, index])
    frames = pl.concat([frame] * rows).with_columns(
        pl.Series(name, values, dtype=pl.Int64) for name, values in counts.items()
    )
    batch = Evidence(
        np.repeat(evidence.hits, rows, 0),
        np.repeat(evidence.rule_score, rows, 0),
        user.rows(np.ones(rows, bool), masks),
        model.encoder.transform(frames),
    )
    final = score(model.fusion, batch).final
    return [float(final[0] - without) for without in final[1:]]


def _row(graph: Graph, neighbour: Neighbour, events: int, part: float) -> NeighbourEffect:
    node_type, index = neighbour
    named = node_type != USER and "name" in graph.schema.node(node_type).names("categorical")
    return NeighbourEffect(
        type=node_type,
        id=graph.node_ids[node_type][index],
        name=graph.features[node_type]["name"][index] if named else None,
        events=events,
        contribution=part,
    )
