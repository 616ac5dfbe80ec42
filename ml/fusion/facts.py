"""What is known of users beside their score, for people who look at single ones."""

import numpy as np
import polars as pl

from ml.contracts.schema import USER
from ml.fusion.evidence import profile_frame
from ml.graph.graph import Graph
from ml.rules.rule_set import RuleSet

EDGES = "edges "


def user_facts(graph: Graph, rules: RuleSet) -> pl.DataFrame:
    """A row a user, in the order of the graph.

    Args:
        graph: What the score knew: of future behaviour, the graph at the cut.

    Returns:
        ``user_id``, ``edges <edge type>`` (distinct neighbours; where users are targets as well,
        ``edges <edge type> (in)``), ``edges`` (their sum), ``missing`` (attributes without a
        value), ``attributes`` (their number), ``rule_hits``, ``rule_score``.
    """
    frame = profile_frame(graph)
    degree = {EDGES + name: pl.Series(values) for name, values in edge_counts(graph).items()}
    names = [feature.name for feature in graph.schema.user.features]
    missing = np.array([frame[name].is_null().to_numpy() for name in names], dtype=bool).reshape(
        len(names), frame.height
    )
    hits = rules.hits_frame(frame)
    total = np.sum([values.to_numpy() for values in degree.values()], axis=0, dtype=np.int64)
    return pl.DataFrame(
        {
            "user_id": frame["user_id"],
            **degree,
            "edges": np.broadcast_to(total, frame.height),
            "missing": _lists(names, missing.T),
            "attributes": pl.Series([len(names)] * frame.height, dtype=pl.Int64),
            "rule_hits": _lists(list(rules.names), hits.astype(bool)),
            "rule_score": np.asarray(rules.score(hits), np.float64),
        }
    )


def edge_counts(graph: Graph) -> dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Distinct neighbours of each user by edge type. Shapes: [users]."""
    users = graph.num_nodes[USER]
    counts = {}
    for edge in graph.schema.edges:
        pairs = graph.pairs(edge.key)
        if edge.source == USER:
            counts[edge.name] = np.bincount(pairs.src, minlength=users)
        if edge.target == USER:
            name = f"{edge.name} (in)" if edge.source == USER else edge.name
            counts[name] = np.bincount(pairs.dst, minlength=users)
    return counts


def _lists(names: list[str], mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> pl.Series:
    """The names of each row's true columns."""
    known = np.array(names, dtype=object)
    return pl.Series([known[row].tolist() for row in mask], dtype=pl.List(pl.String))
