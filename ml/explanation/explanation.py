"""Why a user has this score: Shapley values of rules and kinds of evidence, and a flat view.

v(S) = mean over background rows b of p(hits and rule score from S, else b;
attributes and counts from S, else b; the user's own embedding from the evidence in S)

The embedding is never mixed with b's: what is left of the user without a kind of evidence is
computed by the network. So v(all) is the user's score, and v(none), the base, is the mean over the
background with the embedding of a user of whom nothing is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from msgspec.structs import replace

from ml.contracts.reports.explanation import Contribution, ExplanationReport, Scalar
from ml.explanation.flat import PAIRS, feature_names, flat_game
from ml.explanation.game import Weights, group_game, mixed_game, rule_side
from ml.explanation.players import EmbedCoalitions, Kinds, in_words
from ml.explanation.shapley import (
    MixedGame,
    ShapleyValues,
    count_visits,
    permutation_coalitions,
    permutation_shapley,
    subsets,
)
from ml.fusion.background import ZERO_WARNING, Background
from ml.fusion.evidence import COUNT_PREFIX, Evidence
from ml.fusion.scoring import ProfileModel

EXACT_VISITS = 2**24
"""Coalitions, over the rows of the background, that are counted at most: about half a second."""
EXACT_KINDS = 8
PERMUTATIONS = 512
DRIFT = 1e-6

HELD_FIXED = (
    "The neighbours' states are held fixed: taking a kind of evidence away recomputes this user "
    "alone.",
    "Attributes are all that is the user's own: with them goes what the model learned of its id.",
    "The base is the mean score over the background's rules, attributes and counts with the "
    "embedding of a user without any evidence: the same for every user.",
)


@dataclass(frozen=True)
class Player:
    """Something that a part of the score is given to; its fields as of ``Contribution``."""

    name: str
    kind: str
    value: Scalar | dict[str, Scalar] = None


@dataclass(frozen=True)
class Subject:
    """The user to be explained.

    Args:
        evidence: One row.
        values: Attributes and ``event_counts.<type>`` to show.
        stored_score: The score that the profile has; None if there is nothing to compare with.
    """

    evidence: Evidence
    values: Mapping[str, Any]
    stored_score: float | None = None

    def __post_init__(self) -> None:
        if len(self.evidence) != 1:
            raise ValueError(f"an explanation is of one user, got {len(self.evidence)}")


def explain_evidence(
    model: ProfileModel,
    subject: Subject,
    background: Background,
    embed: EmbedCoalitions,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> ExplanationReport:
    """Contributions of every rule, the attributes and each type of event.

    Args:
        embed: The user's embedding from a part of the kinds, in the order of ``Kinds``.
        permutations: Random orders, half of them reverses, where there are more than 8 kinds or
            all coalitions are too many; a rule on which the user and a row of the background
            agree does not count in that row.
    """
    kinds, user = Kinds.of(model.schema), subject.evidence
    rules = len(model.rules)
    weights = Weights.of(model.fusion)
    side = rule_side(weights, model.rules, user, background.evidence)

    def game(states: Any) -> MixedGame:
        return mixed_game(
            weights, side, user, background.evidence,
            states=states, embeddings=embed(states), owner=kinds.owner(model.encoder),
        )  # fmt: skip

    players = rules + len(kinds)
    if (
        len(kinds) <= EXACT_KINDS
        and count_visits(side.add_r, side.add_a, len(kinds)) <= EXACT_VISITS
    ):
        shares = game(subsets(len(kinds))).exact()
        method = f"exact Shapley values over all coalitions of {players} players"
    else:
        walks = permutation_coalitions(players, permutations=permutations, seed=seed)
        states = np.unique(walks[:, :, rules:].reshape(-1, len(kinds)), axis=0)
        shares = permutation_shapley(game(states).worth, walks)
        method = f"Shapley values from {len(walks)} antithetic permutations, seed {seed}"
    rows = [_rule(model, subject, i) for i in range(rules)]
    known = {f.name: subject.values.get(f.name) for f in model.schema.user.features}
    rows.append(Player(kinds.names[0], "attributes", known))
    for event, word in zip(kinds.events, kinds.words, strict=True):
        count = subject.values.get(f"{COUNT_PREFIX}{event}") or 0
        rows.append(Player(word, "events", count))
    answer = _answer("evidence", rows, shares, subject, background, method)
    return replace(answer, notes=[*HELD_FIXED, *answer.notes])


def explain_groups(
    model: ProfileModel, subject: Subject, background: Background
) -> ExplanationReport:
    """Every rule, the rule score, the embedding as a whole and the attributes as a whole, each on
    its own; the embedding out of play is the background's. Same answer as ``explain_evidence``.
    """
    game = group_game(Weights.of(model.fusion), model.rules, subject.evidence, background.evidence)
    if game.visits <= EXACT_VISITS:
        shares = game.exact()
        method = f"exact Shapley values over all coalitions of {game.players} players"
    else:
        walks = permutation_coalitions(game.players, permutations=PERMUTATIONS, seed=0)
        shares = permutation_shapley(game.worth, walks)
        method = f"Shapley values from {len(walks)} antithetic permutations, seed 0"
    rows = [_rule(model, subject, i) for i in range(len(model.rules))]
    rows.append(_rule_score(subject))
    rows.append(Player("embedding", "embedding"))
    if subject.evidence.attributes.shape[1]:
        rows.append(Player("attributes and counts", "attributes"))
    return _answer("groups", rows, shares, subject, background, method)


def explain_flat(
    model: ProfileModel,
    subject: Subject,
    background: Background,
    *,
    pairs: int = PAIRS,
    seed: int = 0,
) -> ExplanationReport:
    """Every rule, the rule score, each element of the embedding and each attribute on its own.

    Args:
        pairs: Of walks, rounded up to a multiple of the background's size.

    Returns:
        As ``explain_evidence``.
    """
    user, columns = subject.evidence, model.encoder.columns
    game = flat_game(
        Weights.of(model.fusion), user, background.evidence, columns=list(columns.values())
    )
    shares = game.sample(pairs=pairs, seed=seed)
    walked = -(-pairs // len(background)) * len(background)
    method = (
        f"Shapley values from {walked} antithetic pairs of permutations, one background row a "
        f"pair, seed {seed}"
    )
    width = user.embedding.shape[1]
    rows = [_rule(model, subject, i) for i in range(len(model.rules))]
    rows.append(_rule_score(subject))
    for name, kind in feature_names(width, list(columns)):
        value = subject.values.get(name) if kind == "attribute" else None
        rows.append(Player(name, kind, value))
    return _answer("flat", rows, shares, subject, background, method)


def _answer(
    view: str,
    players: Sequence[Player],
    shares: ShapleyValues,
    subject: Subject,
    background: Background,
    method: str,
) -> ExplanationReport:
    rows = [
        Contribution(
            player=player.name, kind=player.kind, value=player.value, contribution=float(part)
        )
        for player, part in zip(players, shares.phi, strict=True)
    ]
    rows.sort(key=lambda row: -abs(row.contribution))
    stored = subject.stored_score
    drift = 0.0 if stored is None else float(stored - shares.score)
    notes = []
    error = float(shares.error.max(initial=0.0))
    if error > 0.0:
        notes.append(f"Contributions were sampled: their standard error is up to {error:.2g}.")
    if abs(drift) > DRIFT:
        notes.append(
            f"The profile's score is {stored:.6f}, the evidence as it is now gives "
            f"{shares.score:.6f}: events or neighbours changed in between. The contributions are "
            "of the latter."
        )
    return ExplanationReport(
        view=view,
        base=shares.base,
        score=shares.score,
        scale="probability",
        contributions=rows,
        summary=in_words(rows),
        additivity_error=shares.additivity_error,
        standard_error=error if isfinite(error) else None,
        method=method,
        background=background.about(),
        drift=drift,
        notes=notes,
        warnings=[ZERO_WARNING] if background.kind == "zero" else [],
    )


def _rule(model: ProfileModel, subject: Subject, position: int) -> Player:
    return Player(model.rules[position].name, "rule", bool(subject.evidence.hits[0, position] > 0))


def _rule_score(subject: Subject) -> Player:
    return Player("rule score", "rule score", float(subject.evidence.rule_score[0]))
