"""The flat view: every rule, the rule score, every element of the embedding, every attribute.

Walks from a background row to the user, feature by feature in a random order and then in the
reverse of it; each pair of walks starts at one background row. A walk adds up exactly, and as every
row starts equally many, the mean adds up to the score minus the mean over the background. Source:
antithetic permutation sampling, Mitchell et al., JMLR 2022.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.compute.compiling import kernel
from ml.explanation.game import Weights
from ml.explanation.shapley import Floats, ShapleyValues, _logistic, standard_error
from ml.fusion.evidence import Evidence

PAIRS = 500
"""Pairs of walks; rounded up to a multiple of the background rows."""


@dataclass(frozen=True)
class FlatGame:
    """What each feature changes on the way from each background row to the user.

    Shapes: add_* [B, F]; start_* [B]; hidden is last: add_h [B, F, H], start_h [B, H].
    """

    add_r: Floats
    add_a: Floats
    add_m: Floats
    add_h: Floats
    start_r: Floats
    start_a: Floats
    start_m: Floats
    start_h: Floats
    weights: Weights

    def worth(self, coalitions: npt.NDArray[np.bool_]) -> Floats:
        """The mean over the background, straight. Shapes: [C, F] → [C]."""
        inside = coalitions.astype(np.float64)
        r = inside @ self.add_r.T + self.start_r
        a = inside @ self.add_a.T + self.start_a
        m = inside @ self.add_m.T + self.start_m
        h = np.einsum("cf,bfh->cbh", inside, self.add_h) + self.start_h
        m, c = self.weights.after_hidden(m, h)
        gate = 0.5 + 0.5 * np.tanh(0.5 * (a + c))
        z = self.weights.slope * (m + gate * (r - m)) + self.weights.shift
        return np.asarray((0.5 + 0.5 * np.tanh(0.5 * z)).mean(1))

    def sample(self, *, pairs: int = PAIRS, seed: int = 0) -> ShapleyValues:
        """Shapley values by pairs of walks; the same seed gives the same values."""
        rows, features = self.add_r.shape
        rounds = -(-pairs // rows)
        draws = np.random.default_rng(seed).random((rounds * rows, features))
        weights = self.weights
        phi, base, score = _walks(
            draws, self.add_r, self.add_a, self.add_m, self.add_h, self.start_r, self.start_a,
            self.start_m, self.start_h, np.stack([weights.out_hidden, weights.gate_hidden]),
            weights.slope, weights.shift,
        )  # fmt: skip
        return ShapleyValues(phi.mean(0), base, score, standard_error(phi))


def flat_game(
    weights: Weights, user: Evidence, background: Evidence, *, columns: list[int]
) -> FlatGame:
    """Features in the order: rules, rule score, elements of the embedding, attributes.

    Args:
        columns: How many columns of the matrix each attribute has.
    """
    hits = background.hits.astype(np.float64)
    score = background.rule_score.astype(np.float64)
    at, rows = background.embedding.astype(np.float64), background.attributes.astype(np.float64)
    rules = user.hits[0] - hits
    risen = (float(user.rule_score[0]) - score)[:, None]
    turned, changed = user.embedding[0] - at, user.attributes[0] - rows
    n, apart, hidden = len(background), rules.shape[1] + 1, len(weights.out_hidden)
    nothing = np.zeros((n, turned.shape[1] + len(columns)))
    firsts = np.cumsum([0, *columns])[:-1]
    attribute_m, attribute_h = np.zeros((n, 0)), np.zeros((n, 0, hidden))
    if columns:
        attribute_m = np.add.reduceat(changed * weights.attribute_m, firsts, axis=1)
        moved = changed[:, :, None] * weights.attribute_hidden.T
        attribute_h = np.add.reduceat(moved, firsts, axis=1)
    return FlatGame(
        add_r=np.hstack([rules * weights.rule_r, risen * weights.score_r, nothing]),
        add_a=np.hstack([rules * weights.rule_a, risen * weights.score_a, nothing]),
        add_m=np.hstack([np.zeros((n, apart)), turned * weights.embedding_m, attribute_m]),
        add_h=np.concatenate(
            [
                np.zeros((n, apart, hidden)),
                turned[:, :, None] * weights.embedding_hidden.T,
                attribute_h,
            ],
            axis=1,
        ),
        start_r=hits @ weights.rule_r + weights.score_r * score + weights.bias_r,
        start_a=hits @ weights.rule_a + weights.score_a * score + weights.bias_a,
        start_m=at @ weights.embedding_m + rows @ weights.attribute_m + weights.bias_m,
        start_h=at @ weights.embedding_hidden.T
        + rows @ weights.attribute_hidden.T
        + weights.bias_hidden,
        weights=weights,
    )


@kernel
def _walks(
    draws: Floats, add_r: Floats, add_a: Floats, add_m: Floats, add_h: Floats, start_r: Floats,
    start_a: Floats, start_m: Floats, start_h: Floats, heads: Floats, slope: float, shift: float,
) -> tuple[Floats, float, float]:  # fmt: skip
    """The values by rounds of one pair a background row [rounds, F], base and score."""
    pairs, features = draws.shape
    rows, hidden = start_h.shape
    phi = np.zeros((pairs // rows, features))
    h = np.empty(hidden)
    order = np.empty(features, np.int64)
    base, score = 0.0, 0.0
    for pair in range(pairs):
        b = pair % rows
        acting = 0  # features that change nothing on the way from this row take no step
        for f in range(features):
            moves = add_r[b, f] != 0.0 or add_a[b, f] != 0.0 or add_m[b, f] != 0.0
            for i in range(hidden):
                moves = moves or add_h[b, f, i] != 0.0
            if moves:
                order[acting] = f
                acting += 1
        for i in range(acting - 1, 0, -1):  # Fisher and Yates
            j = int(draws[pair, i] * (i + 1))
            order[i], order[j] = order[j], order[i]
        for turn in range(2):
            r, a, m = start_r[b], start_a[b], start_m[b]
            h[:] = start_h[b]
            before = 0.0
            for step in range(-1, acting):
                if step >= 0:
                    f = order[step] if turn == 0 else order[acting - 1 - step]
                    r += add_r[b, f]
                    a += add_a[b, f]
                    m += add_m[b, f]
                    for i in range(hidden):
                        h[i] += add_h[b, f, i]
                out, gate = 0.0, 0.0
                for i in range(hidden):
                    positive = max(h[i], 0.0)
                    out += heads[0, i] * positive
                    gate += heads[1, i] * positive
                g = _logistic(a + gate)
                p = _logistic(slope * (m + out + g * (r - m - out)) + shift)
                if step < 0:
                    base += p
                else:
                    phi[pair // rows, f] += p - before
                before = p
            score += before
    walked = 2 * pairs
    return phi / (2 * rows), base / walked, score / walked


def feature_names(width: int, attributes: Sequence[str]) -> list[tuple[str, str]]:
    """Name and kind of each feature after the rules and the rule score."""
    return [
        *((f"embedding {i}", "embedding") for i in range(width)),
        *((name, "attribute") for name in attributes),
    ]
