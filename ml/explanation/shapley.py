"""Shapley values of games: by every coalition, by random orders, and by structure.

phi_i = Σ_S |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))

Sources: Shapley 1953; antithetic permutations: Mitchell et al., JMLR 2022.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.compute.compiling import kernel

Coalitions = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Value = Callable[[Coalitions], Floats]
"""Worth of coalitions. Shapes: [C, players] → [C]."""


@dataclass(frozen=True)
class ShapleyValues:
    """Shapley values, the worth of nobody and of everybody.

    Args:
        error: Standard error of each value where orders were drawn, infinite if there are too few
            to tell; zeros where all coalitions were counted.

    Shapes: phi, error [players].
    """

    phi: Floats
    base: float
    score: float
    error: Floats

    @property
    def additivity_error(self) -> float:
        return abs(self.score - self.base - float(self.phi.sum()))


@dataclass(frozen=True)
class MixedGame:
    """The mean over B rows of a gated score in which two groups of players act apart.

    p = sigmoid(slope (g r + (1 - g) m) + shift),  g = sigmoid(a + c)

    The first R players add to r and a, each for itself; the others set m and c together, so one
    value of each for each of their ``states`` is all there is to know.

    Args:
        states: Coalitions of the other players that are known; all 2^K of them in binary order
            where values shall be exact. Shape: [T, K].
        add_r: What each of the first players adds. Shapes: add_r, add_a [B, R].
        start_r: Before anybody adds. Shapes: start_r, start_a [B].
        m: Of each state. Shapes: m, c [T, B].
    """

    states: Coalitions
    add_r: Floats
    add_a: Floats
    start_r: Floats
    start_a: Floats
    m: Floats
    c: Floats
    slope: float
    shift: float

    @property
    def players(self) -> int:
        return self.add_r.shape[1] + self.states.shape[1]

    def worth(self, coalitions: Coalitions) -> Floats:
        """Worth of coalitions whose states are known. Shapes: [C, R + K] → [C].

        Raises:
            KeyError: if the state of a coalition is not known.
        """
        first = self.add_r.shape[1]
        known = {state.tobytes(): i for i, state in enumerate(np.ascontiguousarray(self.states))}
        rest = np.ascontiguousarray(coalitions[:, first:])
        state = np.array([known[row.tobytes()] for row in rest])
        inside = coalitions[:, :first].astype(np.float64)
        r = inside @ self.add_r.T + self.start_r  # [C, B]
        gate = sigmoid(inside @ self.add_a.T + self.start_a + self.c[state])
        z = self.m[state] + gate * (r - self.m[state])
        return np.asarray(sigmoid(self.slope * z + self.shift).mean(1))

    @property
    def visits(self) -> int:
        """See ``count_visits``."""
        return count_visits(self.add_r, self.add_a, self.states.shape[1])

    def exact(self) -> ShapleyValues:
        """By all coalitions. A player that adds nothing to a row is left out of that row's game:
        there its value is zero and it changes nobody else's."""
        if len(self.states) != 2 ** self.states.shape[1]:
            raise ValueError(
                f"{len(self.states)} states of {self.states.shape[1]} players, expected all "
                f"{2 ** self.states.shape[1]}"
            )
        phi, base, score = _exact(
            self.add_r, self.add_a, self.start_r, self.start_a, self.m, self.c,
            self.slope, self.shift, _weights(self.players),
        )  # fmt: skip
        return ShapleyValues(phi, base, score, np.zeros_like(phi))


def count_visits(add_r: Floats, add_a: Floats, others: int) -> int:
    """Coalitions that a game's ``exact`` looks at, over all rows.

    Args:
        add_r, add_a: See ``MixedGame``.
        others: Players that act together.
    """
    acting = ((add_r != 0.0) | (add_a != 0.0)).sum(1)
    return sum(2 ** int(n) for n in acting) * 2**others


def subsets(n: int) -> Coalitions:
    """All coalitions of n players; row i is i in binary, the first player its lowest bit.

    Shape: [2^n, n].
    """
    return (np.arange(2**n)[:, None] >> np.arange(n)[None, :] & 1).astype(bool)


def permutation_coalitions(n: int, *, permutations: int, seed: int) -> Coalitions:
    """What random orders and their reverses have in play after each step.

    Shape: [permutations, n + 1, n]; an odd number is rounded up.
    """
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(n) for _ in range(max(1, (permutations + 1) // 2))]
    orders += [order[::-1] for order in orders]
    position = np.argsort(np.stack(orders), axis=1)  # [orders, n]
    coalitions: Coalitions = position[:, None, :] < np.arange(n + 1)[None, :, None]
    return coalitions


def permutation_shapley(value: Value, walks: Coalitions) -> ShapleyValues:
    """Shapley values by the walks of ``permutation_coalitions``; every walk adds up exactly."""
    orders, steps, n = walks.shape
    unique, inverse = np.unique(walks.reshape(-1, n), axis=0, return_inverse=True)
    worth = value(unique)[inverse.ravel()].reshape(orders, steps)
    gained = np.diff(worth, axis=1)  # [orders, n], by step
    position = n - walks.sum(1)  # the step at which each player enters
    entered = np.take_along_axis(gained, position, axis=1)  # [orders, n], by player
    pairs = entered.reshape(2, -1, n).mean(0)  # an order and its reverse, which are not independent
    error = standard_error(pairs)
    return ShapleyValues(pairs.mean(0), float(worth[0, 0]), float(worth[0, -1]), error)


def standard_error(draws: Floats) -> Floats:
    """Of the mean of independent draws, infinite for a single one. Shape: [N, ...] → [...]."""
    if len(draws) < 2:
        return np.full(draws.shape[1:], np.inf)
    return np.asarray(draws.std(0, ddof=1) / len(draws) ** 0.5)


def sigmoid(z: Any) -> Any:
    """1 / (1 + exp(-z)), by tanh, which never overflows."""
    return 0.5 + 0.5 * np.tanh(0.5 * z)


@lru_cache(maxsize=32)
def _weights(most: int) -> Floats:
    """Row n: s! (n - s - 1)! / n! for s < n, then zeros. Shape: [most + 1, most + 1]."""
    table = np.zeros((most + 1, most + 1))
    for n in range(1, most + 1):
        for s in range(n):
            table[n, s] = factorial(s) * factorial(n - s - 1) / factorial(n)
    return table


@kernel
def _logistic(z: float) -> float:
    if z >= 0.0:
        return 1.0 / (1.0 + np.exp(-z))
    e = np.exp(z)
    return e / (1.0 + e)


@kernel
def _exact(
    add_r: Floats, add_a: Floats, start_r: Floats, start_a: Floats, m: Floats, c: Floats,
    slope: float, shift: float, weights: Floats,
) -> tuple[Floats, float, float]:  # fmt: skip
    """phi_i = Σ_{S ∋ i} v(S) (w(s-1) + w(s)) - Σ_S v(S) w(s), with one visit of each coalition."""
    rows, first = add_r.shape
    states = m.shape[0]
    others, most = 0, 0
    while 1 << others < states:
        others += 1
    for b in range(rows):
        acting = int(np.count_nonzero((add_r[b] != 0.0) | (add_a[b] != 0.0)))
        most = max(most, acting)
    count = np.zeros(max(1 << most, states), np.int64)  # players in a coalition
    for i in range(1, len(count)):
        count[i] = count[i >> 1] + (i & 1)
    r, a = np.empty(1 << most), np.empty(1 << most)
    seat = np.empty(first, np.int64)
    of_state, of_seat = np.empty(states), np.empty(first)
    phi = np.zeros(first + others)
    base, score = 0.0, 0.0
    for b in range(rows):
        acting = 0
        for i in range(first):
            if add_r[b, i] != 0.0 or add_a[b, i] != 0.0:
                seat[acting] = i
                acting += 1
        r[0], a[0] = start_r[b], start_a[b]
        for j in range(acting):
            half = 1 << j
            for s in range(half):
                r[half + s] = r[s] + add_r[b, seat[j]]
                a[half + s] = a[s] + add_a[b, seat[j]]
        weight = weights[acting + others]
        of_state[:] = 0.0
        of_seat[:] = 0.0
        total, p = 0.0, 0.0
        for s in range(1 << acting):
            of_row = 0.0
            for t in range(states):
                g = _logistic(a[s] + c[t, b])
                p = _logistic(slope * (m[t, b] + g * (r[s] - m[t, b])) + shift)
                if s + t == 0:
                    base += p
                size = count[s] + count[t]
                total += p * weight[size]
                gained = p * weight[size]
                if size > 0:
                    gained += p * weight[size - 1]
                of_row += gained
                of_state[t] += gained
            for j in range(acting):
                if s >> j & 1:
                    of_seat[j] += of_row
        score += p
        for j in range(acting):
            phi[seat[j]] += of_seat[j] - total
        for k in range(others):
            part = 0.0
            for t in range(states):
                if t >> k & 1:
                    part += of_state[t]
            phi[first + k] += part - total
    return phi / rows, base / rows, score / rows
