"""The fused score as a game: what rules and kinds of evidence set, apart from each other.

The fusion reads rule hits and rule score on one side, embedding and attributes on the other. They
meet in the gate alone, so 2^rules + 2^kinds partial results are all that 2^(rules + kinds)
coalitions need.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.explanation.shapley import Coalitions, Floats, MixedGame
from ml.fusion.evidence import Evidence
from ml.fusion.fusion import Fusion
from ml.rules.rule_set import Rule

Columns = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Weights:
    """A fusion's weights in double precision.

    Shapes: rule_* [R]; *_hidden [H, D or A]; gate_hidden, out_hidden [H]; the others [D or A].
    """

    rule_r: Floats
    rule_a: Floats
    score_r: float
    score_a: float
    bias_r: float
    bias_a: float
    embedding_m: Floats
    attribute_m: Floats
    embedding_hidden: Floats
    attribute_hidden: Floats
    bias_m: float
    bias_hidden: Floats
    out_hidden: Floats
    gate_hidden: Floats
    slope: float
    shift: float

    @classmethod
    def of(cls, fusion: Fusion) -> "Weights":
        """The embedding's scale is taken into its weights."""
        rules, width = fusion.widths.rules, fusion.widths.embedding
        scale = width**0.5
        linear, hidden = _array(fusion.nn_lin.weight)[0], _array(fusion.nn_hidden.weight)
        gate = _array(fusion.gate.weight)[0]
        hits = max(rules, 1)
        slope, shift = _array(fusion.platt)
        return cls(
            rule_r=_array(fusion.rule_lin.weight)[0, :rules],
            rule_a=gate[:rules],
            score_r=float(_array(fusion.rule_scale)[0]),
            score_a=float(gate[hits]),
            bias_r=float(_array(fusion.rule_lin.bias)[0]),
            bias_a=float(_array(fusion.gate.bias)[0]),
            embedding_m=linear[:width] * scale,
            attribute_m=linear[width:],
            embedding_hidden=hidden[:, :width] * scale,
            attribute_hidden=hidden[:, width:],
            bias_m=float(_array(fusion.nn_lin.bias)[0]),
            bias_hidden=_array(fusion.nn_hidden.bias),
            out_hidden=_array(fusion.nn_out.weight)[0],
            gate_hidden=gate[hits + 1 :],
            slope=float(slope),
            shift=float(shift),
        )

    def after_hidden(self, linear: Any, hidden: Any) -> tuple[Floats, Floats]:
        """The model's logit and what it adds to the gate. Shapes: [...], [..., H] → [...] each."""
        h = np.maximum(hidden, 0.0)
        return linear + h @ self.out_hidden, h @ self.gate_hidden


@dataclass(frozen=True)
class RuleSide:
    """What the rule players add, for each background row.

    Shapes: add_* [B, R or R + 1]; start_* [B].
    """

    add_r: Floats
    add_a: Floats
    start_r: Floats
    start_a: Floats


def rule_side(
    weights: Weights,
    rules: Sequence[Rule],
    user: Evidence,
    background: Evidence,
    *,
    score_apart: bool = False,
) -> RuleSide:
    """The user's rules beside those of the background.

    Args:
        score_apart: Makes the rule score a player of its own, the last one; else a rule out of
            play changes the vector and the score together, and the score is computed from the
            vector.
    """
    hits, mine = background.hits.astype(np.float64), user.hits[0].astype(np.float64)
    changed = mine - hits  # [B, R]
    add_r, add_a = changed * weights.rule_r, changed * weights.rule_a
    if score_apart:
        score = background.rule_score.astype(np.float64)
        risen = (float(user.rule_score[0]) - score)[:, None]
        add_r = np.hstack([add_r, risen * weights.score_r])
        add_a = np.hstack([add_a, risen * weights.score_a])
    else:
        share = rule_shares(rules)
        score = hits @ share
        add_r = add_r + changed * share * weights.score_r
        add_a = add_a + changed * share * weights.score_a
    start_r = hits @ weights.rule_r + weights.score_r * score + weights.bias_r
    start_a = hits @ weights.rule_a + weights.score_a * score + weights.bias_a
    return RuleSide(add_r, add_a, start_r, start_a)


def rule_shares(rules: Sequence[Rule]) -> Floats:
    """What each hit adds to the rule score."""
    weights = np.array([rule.weight for rule in rules], np.float64)
    total = np.abs(weights).sum()
    return weights / total if total > 0 else weights * 0.0


def mixed_game(
    weights: Weights,
    side: RuleSide,
    user: Evidence,
    background: Evidence,
    *,
    states: Coalitions,
    embeddings: npt.NDArray[Any],
    owner: Columns,
) -> MixedGame:
    """The game of a rule side and of kinds that own attribute columns and set the embedding.

    Args:
        states: Coalitions of the kinds. Shape: [T, K].
        embeddings: Of the user in each state, or for each background row too. Shape: [T, D] or
            [T, B, D].
        owner: The kind that owns each attribute column. Shape: [A].
    """
    x, rows = user.attributes[0].astype(np.float64), background.attributes.astype(np.float64)
    mine = states[:, owner]  # [T, A]: whether the column is the user's
    at = embeddings.astype(np.float64)
    at = at if at.ndim == 3 else at[:, None, :]
    hidden = at @ weights.embedding_hidden.T + weights.bias_hidden
    linear = at @ weights.embedding_m + weights.bias_m
    if len(owner):
        changed = x - rows  # [B, A]
        linear = linear + rows @ weights.attribute_m
        linear = linear + (mine * weights.attribute_m) @ changed.T
        hidden = hidden + rows @ weights.attribute_hidden.T
        for kind in range(states.shape[1]):
            columns = owner == kind
            moved = changed[:, columns] @ weights.attribute_hidden[:, columns].T  # [B, H]
            hidden = hidden + states[:, kind, None, None] * moved
    m, c = weights.after_hidden(linear, hidden)
    shape = (len(states), len(background))
    return MixedGame(
        states, side.add_r, side.add_a, side.start_r, side.start_a,
        np.ascontiguousarray(np.broadcast_to(m, shape)),
        np.ascontiguousarray(np.broadcast_to(c, shape)),
        weights.slope, weights.shift,
    )  # fmt: skip


def group_game(
    weights: Weights, rules: Sequence[Rule], user: Evidence, background: Evidence
) -> MixedGame:
    """The game of every rule, the rule score, the embedding and, where there are any, the
    attributes: each out of play takes the background's value."""
    kinds = 2 if user.attributes.shape[1] else 1
    states = np.array([[t >> k & 1 for k in range(kinds)] for t in range(2**kinds)], bool)
    mine = np.broadcast_to(user.embedding, background.embedding.shape)
    embeddings = np.stack([mine if state[0] else background.embedding for state in states])
    side = rule_side(weights, rules, user, background, score_apart=True)
    owner = np.ones(user.attributes.shape[1], np.int64)
    return mixed_game(
        weights, side, user, background, states=states, embeddings=embeddings, owner=owner
    )


def _array(tensor: Any) -> Floats:
    return np.asarray(tensor.detach().cpu().numpy(), np.float64)
