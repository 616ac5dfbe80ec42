"""The best links of every user that are not there yet, by the model."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from ml.contracts.schema import USER, EdgeType
from ml.evaluation.metrics import Scorer
from ml.graph.graph import Graph
from ml.recommendation.reasons import ReasonLookup, reasons

BLOCK = 1024


def recommend(
    graph: Graph,
    embeddings: Mapping[str, npt.NDArray[np.float32]],
    scorers: Mapping[str, Scorer],
    *,
    k: int = 5,
    block: int = BLOCK,
) -> pl.DataFrame:
    """The best ``k`` new targets of each type for every user, with reasons.

    Args:
        scorers: Of the links by target type, for example ``product`` and ``app``.
        block: Users at once, which bounds the memory.

    Returns:
        user_id, target_type, target_id, rank (from 1), score (higher is better, comparable
        within a user and type), reasons (List of String); users who have everything get fewer.
    """
    frames = [
        _recommend_type(graph, embeddings, edge, scorers[edge.target], k, block)
        for edge in recommended_edges(graph).values()
        if edge.target in scorers and graph.num_nodes[edge.target]
    ]
    empty = pl.DataFrame(
        schema={
            "user_id": pl.String, "target_type": pl.String, "target_id": pl.String,
            "rank": pl.Int64, "score": pl.Float64, "reasons": pl.List(pl.String),
        }
    )  # fmt: skip
    return pl.concat([empty, *frames])


def recommended_edges(graph: Graph) -> dict[str, EdgeType]:
    """For each target type the relation to recommend by: orders or uses before clicks."""
    edges: dict[str, EdgeType] = {}
    for edge in graph.schema.edges:
        if edge.source == USER and edge.target != USER:
            first = edges.get(edge.target)
            if first is None or (first.event == "click" and edge.event != "click"):
                edges[edge.target] = edge
    return edges


def _recommend_type(
    graph: Graph,
    embeddings: Mapping[str, npt.NDArray[np.float32]],
    edge: EdgeType,
    scorer: Scorer,
    k: int,
    block: int,
) -> pl.DataFrame:
    lookup = ReasonLookup.of(graph, embeddings, edge)
    users, targets = graph.num_nodes[USER], graph.num_nodes[edge.target]
    k = min(k, targets)
    names, user_ids = _names(graph, edge.target), np.array(graph.node_ids[USER], dtype=object)
    target_ids = np.array(graph.node_ids[edge.target], dtype=object)
    frames = []
    for first in range(0, users, block):
        rows = np.arange(first, min(first + block, users))
        scores = np.array(scorer(rows), dtype=np.float64)
        owned = lookup.owned[rows].tocoo()
        scores[owned.row, owned.col] = -np.inf
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        best = np.take_along_axis(
            best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable"), 1
        )
        value = np.take_along_axis(scores, best, 1)
        row, column = np.nonzero(np.isfinite(value))
        chosen = best[row, column]
        frames.append(
            pl.DataFrame(
                {
                    "user_id": pl.Series(user_ids[rows[row]], dtype=pl.String),
                    "target_type": pl.Series([edge.target] * len(row), dtype=pl.String),
                    "target_id": pl.Series(target_ids[chosen], dtype=pl.String),
                    "rank": (column + 1).astype(np.int64),
                    "score": value[row, column],
                    "reasons": pl.Series(
                        reasons(lookup, edge, rows, row, chosen, names), dtype=pl.List(pl.String)
                    ),
                }
            )
        )
    return pl.concat(frames)


def _names(graph: Graph, node_type: str) -> list[str]:
    """What a person calls the nodes: their feature ``name`` if there is one, else the id."""
    ids = list(graph.node_ids[node_type])
    if "name" not in graph.schema.node(node_type).names("categorical"):
        return ids
    named = graph.features[node_type]["name"].to_list()
    return [name or node_id for name, node_id in zip(named, ids, strict=True)]
