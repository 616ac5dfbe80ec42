"""What to offer to every user, and why: the model's best links that are not there yet."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from ml.contracts.schema import USER, EdgeType
from ml.evaluation.baselines import incidence
from ml.evaluation.metrics import Ints, Scorer
from ml.graph.graph import Graph

BLOCK = 1024
PAST = {"order": "ordered", "click": "looked at", "use": "used", "call": "called"}


@dataclass(frozen=True)
class Reasons:
    """What is looked up for the reasons, made once for a target type.

    Args:
        owned: Pairs of users and targets. Shape: [users, targets].
        peers: Who calls whom, either way. Shape: [users, users]. None without calls.
        close: Cosine of targets by their embeddings. Shape: [targets, d] normalised rows.
        groups: Group of each user by one attribute (-1: missing), its names, and by group the
            lift of each target over everybody. Shapes: [users], [groups], [groups, targets].
    """

    owned: sparse.csr_array
    peers: sparse.csr_array | None
    close: npt.NDArray[np.float32]
    attribute: str | None
    group: Ints
    group_names: list[str]
    lift: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]


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
        for edge in offer_edges(graph).values()
        if edge.target in scorers and graph.num_nodes[edge.target]
    ]
    empty = pl.DataFrame(
        schema={
            "user_id": pl.String, "target_type": pl.String, "target_id": pl.String,
            "rank": pl.Int64, "score": pl.Float64, "reasons": pl.List(pl.String),
        }
    )  # fmt: skip
    return pl.concat([empty, *frames])


def offer_edges(graph: Graph) -> dict[str, EdgeType]:
    """For each target type the relation that an offer is about: orders or uses before clicks."""
    offers: dict[str, EdgeType] = {}
    for edge in graph.schema.edges:
        if edge.source == USER and edge.target != USER:
            kept = offers.get(edge.target)
            if kept is None or (kept.event == "click" and edge.event != "click"):
                offers[edge.target] = edge
    return offers


def _recommend_type(
    graph: Graph,
    embeddings: Mapping[str, npt.NDArray[np.float32]],
    edge: EdgeType,
    scorer: Scorer,
    k: int,
    block: int,
) -> pl.DataFrame:
    lookup = _lookup(graph, embeddings, edge)
    users, targets = graph.num_nodes[USER], graph.num_nodes[edge.target]
    k = min(k, targets)
    names, user_ids = _names(graph, edge.target), np.array(graph.node_ids[USER], dtype=object)
    target_ids = np.array(graph.node_ids[edge.target], dtype=object)
    frames = []
    for first in range(0, users, block):
        rows = np.arange(first, min(first + block, users))
        scores = np.array(scorer(rows), dtype=np.float64)
        had = lookup.owned[rows].tocoo()
        scores[had.row, had.col] = -np.inf
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
                        _reasons(lookup, edge, rows, row, chosen, names), dtype=pl.List(pl.String)
                    ),
                }
            )
        )
    return pl.concat(frames)


def _lookup(
    graph: Graph, embeddings: Mapping[str, npt.NDArray[np.float32]], edge: EdgeType
) -> Reasons:
    nodes = graph.num_nodes
    users, targets = nodes[USER], nodes[edge.target]
    owned = incidence(graph.pairs(edge.key), users, targets)
    owned.data[:] = 1.0
    peers = None
    for other in graph.schema.edges:
        if other.source == other.target == USER:
            calls = incidence(graph.pairs(other.key), users, users)
            both = sparse.csr_array(calls + calls.T)
            both.setdiag(0)
            both.eliminate_zeros()
            both.data[:] = 1.0
            peers = both if peers is None else sparse.csr_array((peers + both).sign())
    attribute, group, group_names = _grouping(graph)
    member = sparse.csr_array(
        (np.ones(int((group >= 0).sum())), (group[group >= 0], np.flatnonzero(group >= 0))),
        shape=(max(len(group_names), 1), users),
    )
    size = np.maximum(np.asarray(member.sum(axis=1)).ravel(), 1)
    share = np.asarray((member @ owned).toarray(), np.float64) / size[:, None]
    overall = np.maximum(np.asarray(owned.sum(axis=0)).ravel() / max(users, 1), 1e-12)
    return Reasons(
        owned, peers, embeddings[edge.target], attribute, group, group_names,
        share / overall, share,
    )  # fmt: skip


def _grouping(graph: Graph) -> tuple[str | None, Ints, list[str]]:
    """The first categorical attribute with 2 to 20 categories: 'popular in <attribute> <value>'."""
    users = graph.num_nodes[USER]
    for name in graph.schema.user.names("categorical"):
        column = graph.features[USER][name]
        names = sorted(column.drop_nulls().unique().to_list())
        if 2 <= len(names) <= 20:
            place = {value: i for i, value in enumerate(names)}
            codes = [place.get(value, -1) for value in column.to_list()]
            return name, np.array(codes, np.int64), names
    return None, np.full(users, -1, np.int64), []


def _reasons(
    lookup: Reasons,
    edge: EdgeType,
    rows: Ints,
    row: Ints,
    chosen: Ints,
    names: list[str],
) -> list[list[str]]:
    """Sentences for each offer, the strongest evidence first."""
    friends = np.zeros(len(row), np.int64)
    if lookup.peers is not None:
        counts = (lookup.peers[rows] @ lookup.owned).toarray()
        friends = counts[row, chosen].astype(np.int64)
    nearest, cosine = _nearest(lookup, rows, row, chosen)
    group = lookup.group[rows[row]]
    lift = np.where(group >= 0, lookup.lift[np.maximum(group, 0), chosen], 0.0)
    share = np.where(group >= 0, lookup.share[np.maximum(group, 0), chosen], 0.0)
    popular = np.asarray(lookup.owned.sum(axis=0)).ravel()
    rank = np.empty(len(popular), np.int64)
    rank[np.argsort(-popular, kind="stable")] = np.arange(1, len(popular) + 1)
    reasons = []
    for i in range(len(row)):
        said = []
        if friends[i]:
            said.append(said_of_peers(edge, int(friends[i])))
        if nearest[i] >= 0 and cosine[i] >= 0.3:
            said.append(said_of_nearest(edge, names[nearest[i]]))
        if lift[i] >= 1.1 and share[i] >= 0.01:
            value = lookup.group_names[group[i]]
            said.append(f"popular in {lookup.attribute} {value}: {lift[i]:.1f} times the average")
        if not said and popular[chosen[i]]:
            said.append(f"number {rank[chosen[i]]} of all in popularity")
        reasons.append(said or ["its features are close to the user's embedding"])
    return reasons


def said_of_peers(edge: EdgeType, count: int) -> str:
    """The reason that ``count`` of a user's contacts have the offer."""
    who = "1 person" if count == 1 else f"{count} people"
    have = "has" if count == 1 else "have"
    said = f"{PAST[edge.event]} it" if edge.event in PAST else f"{have} {_relation(edge)} to it"
    return f"{who} the user talks to {said}"


def said_of_nearest(edge: EdgeType, name: str) -> str:
    """The reason that the offer is like something the user has."""
    if edge.event in PAST:
        return f"close to {name}, which the user {PAST[edge.event]}"
    return f"close to {name}, to which the user has {_relation(edge)}"


def _relation(edge: EdgeType) -> str:
    return f"the relation '{edge.relation}'"


def _nearest(
    lookup: Reasons, rows: Ints, row: Ints, chosen: Ints
) -> tuple[Ints, npt.NDArray[np.float32]]:
    """For each offer the user's own target that is closest to it, and how close. -1: has none."""
    owned = lookup.owned[rows]
    size = np.diff(owned.indptr)
    pairs = size[row]  # comparisons for each offer
    offer = np.repeat(np.arange(len(row)), pairs)
    offset = np.arange(len(offer)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    target = owned.indices[owned.indptr[row[offer]] + offset]
    cosine = np.einsum("ij,ij->i", lookup.close[chosen[offer]], lookup.close[target])
    nearest = np.full(len(row), -1, np.int64)
    best = np.full(len(row), -1.0, np.float32)
    order = np.argsort(cosine, kind="stable")
    nearest[offer[order]] = target[order]
    best[offer[order]] = cosine[order]
    return nearest, best


def _names(graph: Graph, node_type: str) -> list[str]:
    """What a person calls the nodes: their feature ``name`` if there is one, else the id."""
    ids = list(graph.node_ids[node_type])
    if "name" not in graph.schema.node(node_type).names("categorical"):
        return ids
    named = graph.features[node_type]["name"].to_list()
    return [name or node_id for name, node_id in zip(named, ids, strict=True)]
