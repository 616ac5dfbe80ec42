"""The held-out pairs that the model ranked worst, and what sets them apart."""

from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from ml.contracts.reports.evaluation import WorstLink
from ml.evaluation.answers import Answers
from ml.evaluation.metrics import Ints, Neighbours
from ml.graph.graph import Graph

WORST = 5
FEW_EDGES = 5


@dataclass(frozen=True)
class KnownLinks:
    """What was known of one edge type at the test cut.

    Args:
        targets: Of each source. sources: Of each target.
        degree: Distinct neighbours of each node of the source type, over all edge types.
    """

    targets: Neighbours
    sources: Neighbours
    degree: Ints

    @classmethod
    def of(cls, graph: Graph, answers: Answers) -> "KnownLinks":
        edge, pairs = answers.edge, answers.queries.known
        nodes = graph.num_nodes
        return cls(
            Neighbours.of(pairs.src, pairs.dst, nodes[edge.source]),
            Neighbours.of(pairs.dst, pairs.src, nodes[edge.target]),
            degrees(graph, edge.source),
        )


def degrees(graph: Graph, node_type: str) -> Ints:
    """Distinct neighbours of each node over all edge types and both directions. Shape: [nodes]."""
    size = graph.num_nodes[node_type]
    found = np.zeros(size, np.int64)
    for source, relation, target in graph.edges:
        pairs = graph.pairs((source, relation, target))
        if source == node_type:
            found += np.bincount(pairs.src, minlength=size)
        if target == node_type:
            found += np.bincount(pairs.dst, minlength=size)
    return found


def worst_links(graph: Graph, answers: Answers, *, most: int = WORST) -> list[WorstLink]:
    """The pairs with the worst rank, none that came first; equal ones in the order of the nodes.

    Args:
        graph: What was known at the test cut.
    """
    queries, known = answers.queries, KnownLinks.of(graph, answers)
    order = np.lexsort((queries.dst, queries.src, -answers.ranks))
    wrong = order[answers.ranks[order] > 1]
    return [_row(graph, answers, known, int(query)) for query in wrong[:most]]


def _row(graph: Graph, answers: Answers, known: KnownLinks, query: int) -> WorstLink:
    edge, queries = answers.edge, answers.queries
    source, target = int(queries.src[query]), int(queries.dst[query])
    popularity = np.diff(known.sources.start)
    row = WorstLink(
        edge_type=edge.name,
        source_type=edge.source,
        source=graph.node_ids[edge.source][source],
        target_type=edge.target,
        target=graph.node_ids[edge.target][target],
        target_name=_name(graph, edge.target, target),
        rank=float(answers.ranks[query]),
        of=int(answers.candidates[query]),
        known_before=bool(queries.slices["repeat"][query]),
        source_targets=int(np.diff(known.targets.start)[source]),
        source_edges=int(known.degree[source]),
        target_sources=int(popularity[target]),
        target_place=int((popularity > popularity[target]).sum()) + 1,
        targets=graph.num_nodes[edge.target],
        common=common(known, source, target),
        why=[],
    )
    return replace(row, why=reasons(row))


def common(known: KnownLinks, source: int, target: int) -> int:
    """How many of the source's other targets were had by another source of this target."""
    _, mine = known.targets.rows(np.array([source]))
    _, others = known.sources.rows(np.array([target]))
    _, theirs = known.targets.rows(others[others != source])
    return len(np.setdiff1d(np.intersect1d(mine, theirs), [target]))


def reasons(row: WorstLink) -> list[str]:
    """What sets a pair apart, in words."""
    why = []
    if not row.source_edges:
        why.append("the source has no edges at all")
    elif row.source_targets < FEW_EDGES:
        why.append(f"the source has {_count(row.source_targets, 'edge')} of this type")
    if not row.target_sources:
        why.append("the target is new: no edge of this type before")
    elif row.target_place > row.targets / 2:
        why.append(
            f"the target is less popular: edges of {_count(row.target_sources, row.source_type)}, "
            f"place {row.target_place:,} of {row.targets:,}"
        )
    if row.source_targets and row.target_sources and not row.common:
        why.append(
            f"no common neighbours: no {row.source_type} with an edge to the target shares "
            "another one with the source"
        )
    if row.known_before:
        why.append("the pair was there before")
    return why or ["nothing sets it apart: the source turned to something unlike its past"]


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _name(graph: Graph, node_type: str, index: int) -> str | None:
    if "name" not in graph.schema.node(node_type).names("categorical"):
        return None
    name: str | None = graph.features[node_type]["name"][index]
    return name
