"""From embeddings and rules to a profile model with its report and background sample."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ml.contracts.reports.score import ScoreReport
from ml.contracts.schema import USER
from ml.fusion.background import BACKGROUND, Background, draw_background
from ml.fusion.evidence import AttributeEncoder, Evidence, gather_evidence, profile_frame
from ml.fusion.fusion import MIN_USERS, FusionConfig, fit_fusion
from ml.fusion.scoring import ProfileModel
from ml.fusion.targets import HORIZON_DAYS, choose_target
from ml.fusion.validation import validate_fusion
from ml.graph.graph import Graph
from ml.graph.splits import before
from ml.rules.rule_set import RuleSet

EmbedUsers = Callable[[Graph], npt.NDArray[np.float32]]
"""Embeddings of a graph's users. Shape: [users, EMBEDDING_DIM]."""


@dataclass(frozen=True)
class FittedProfile:
    """A profile model, the users that explanations compare with, and how good it is.

    Args:
        held_out: What ``ml.fusion.validation.Validation`` says of each user, by ``user_id``.
    """

    model: ProfileModel
    background: Background
    report: ScoreReport
    held_out: pl.DataFrame


def fit_profile(
    graph: Graph,
    rules: RuleSet,
    embed_users: EmbedUsers,
    config: FusionConfig,
    *,
    cut: int | None,
    background: int = BACKGROUND,
    horizon_days: int = HORIZON_DAYS,
) -> FittedProfile:
    """Choose the target, cross-validate the fusion, then fit it on every user with a target.

    Where the target is future behaviour, evidence comes from the graph at the cut: counts, their
    scales, rule hits and embeddings alike.

    Args:
        graph: All that is known.
        embed_users: Given the graph, or the graph at the cut; of a network that has seen no
            event after the cut.
        cut: Seconds, ``split.cuts[1]``; None in untimed data.
        background: Size of the background sample.
        horizon_days: Days of future behaviour that are looked at, at most.

    Raises:
        ValueError: if there are fewer than ``MIN_USERS`` users.
    """
    check_users(graph)
    now = profile_frame(graph)
    target = choose_target(
        graph,
        cut=cut,
        rule_score=rules.score(rules.hits_frame(now)),
        horizon_days=horizon_days,
    )
    past = graph if target.cut is None else before(graph, target.cut)
    encoder = AttributeEncoder.fit(graph.schema, now if past is graph else profile_frame(past))
    evidence, frame = _evidence(graph, rules, encoder, embed_users)
    sample = draw_background(evidence, graph.node_ids[USER], size=background, seed=config.seed)
    if past is not graph:
        evidence, frame = _evidence(past, rules, encoder, embed_users)
    validation = validate_fusion(evidence, target, frame, encoder, config)
    rows = np.flatnonzero(target.known)
    fusion = fit_fusion(evidence.take(rows), target.y[rows], config)
    model = ProfileModel(graph.schema, rules.rules, encoder, fusion)
    held_out = _by_id(validation.held_out, graph.node_ids[USER])
    return FittedProfile(model, sample, validation.report, held_out)


def check_users(graph: Graph) -> None:
    """Refuse a graph of too few users, which can be done before anything is trained on it.

    Raises:
        ValueError: if there are fewer than ``MIN_USERS``.
    """
    users = graph.num_nodes[USER]
    if users < MIN_USERS:
        raise ValueError(
            f"the dataset has {users} user{'' if users == 1 else 's'}, training needs at least "
            f"{MIN_USERS}: upload more users"
        )


def _by_id(held_out: pl.DataFrame, ids: tuple[str, ...]) -> pl.DataFrame:
    names = pl.Series("user_id", ids, dtype=pl.String)[held_out["row"]]
    return held_out.drop("row").insert_column(0, names)


def _evidence(
    graph: Graph, rules: RuleSet, encoder: AttributeEncoder, embed_users: EmbedUsers
) -> tuple[Evidence, Any]:
    frame = profile_frame(graph)
    embedding = embed_users(graph)
    if len(embedding) != graph.num_nodes[USER]:
        raise ValueError(f"{len(embedding)} embeddings for {graph.num_nodes[USER]} users")
    return gather_evidence(rules, encoder, frame, embedding), frame
