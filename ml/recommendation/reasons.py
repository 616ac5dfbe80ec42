"""Why something is recommended, in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ml.contracts.schema import USER, EdgeType
from ml.evaluation.baselines import incidence
from ml.evaluation.metrics import Ints
from ml.graph.graph import Graph

PAST = {"order": "ordered", "click": "looked at", "use": "used", "call": "called"}


@dataclass(frozen=True)
class ReasonLookup:
    """What reasons are made of, computed once for a target type.

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

    @classmethod
    def of(
        cls, graph: Graph, embeddings: Mapping[str, npt.NDArray[np.float32]], edge: EdgeType
    ) -> "ReasonLookup":
        """For the links of one edge type from users.

        Args:
            embeddings: By node type. Shapes: [n, d].
        """
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
        return cls(
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
            code = {value: i for i, value in enumerate(names)}
            codes = [code.get(value, -1) for value in column.to_list()]
            return name, np.array(codes, np.int64), names
    return None, np.full(users, -1, np.int64), []


def reasons(
    lookup: ReasonLookup,
    edge: EdgeType,
    rows: Ints,
    row: Ints,
    chosen: Ints,
    names: list[str],
) -> list[list[str]]:
    """Sentences for each recommendation, the strongest evidence first.

    Args:
        rows: Users of a block.
        row: For each recommendation the index in ``rows`` of its user. Shape: [n].
        chosen: Its target. Shape: [n].
        names: Of the targets.
    """
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
    sentences = []
    for i in range(len(row)):
        own = []
        if friends[i]:
            own.append(peers_reason(edge, int(friends[i])))
        if nearest[i] >= 0 and cosine[i] >= 0.3:
            own.append(similarity_reason(edge, names[nearest[i]]))
        if lift[i] >= 1.1 and share[i] >= 0.01:
            value = lookup.group_names[group[i]]
            own.append(f"popular in {lookup.attribute} {value}: {lift[i]:.1f} times the average")
        if not own and popular[chosen[i]]:
            own.append(f"number {rank[chosen[i]]} of all in popularity")
        sentences.append(own or ["its features are close to the user's embedding"])
    return sentences


def peers_reason(edge: EdgeType, count: int) -> str:
    """The reason that ``count`` of a user's contacts have the target."""
    who = "1 person" if count == 1 else f"{count} people"
    have = "has" if count == 1 else "have"
    what = f"{PAST[edge.event]} it" if edge.event in PAST else f"{have} {_relation(edge)} to it"
    return f"{who} the user talks to {what}"


def similarity_reason(edge: EdgeType, name: str) -> str:
    """The reason that the target is like something the user has."""
    if edge.event in PAST:
        return f"close to {name}, which the user {PAST[edge.event]}"
    return f"close to {name}, to which the user has {_relation(edge)}"


def _relation(edge: EdgeType) -> str:
    return f"the relation '{edge.relation}'"


def _nearest(
    lookup: ReasonLookup, rows: Ints, row: Ints, chosen: Ints
) -> tuple[Ints, npt.NDArray[np.float32]]:
    """For each recommendation the user's own target closest to it (-1: none), and how close."""
    owned = lookup.owned[rows]
    size = np.diff(owned.indptr)
    pairs = size[row]  # comparisons for each recommendation
    pair_row = np.repeat(np.arange(len(row)), pairs)
    offset = np.arange(len(pair_row)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    target = owned.indices[owned.indptr[row[pair_row]] + offset]
    cosine = np.einsum("ij,ij->i", lookup.close[chosen[pair_row]], lookup.close[target])
    nearest = np.full(len(row), -1, np.int64)
    best = np.full(len(row), -1.0, np.float32)
    order = np.argsort(cosine, kind="stable")
    nearest[pair_row[order]] = target[order]
    best[pair_row[order]] = cosine[order]
    return nearest, best
