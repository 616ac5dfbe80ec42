"""Shapley values of one user's score: rules, embedding and attributes as players.

phi_i = Σ_S |S|! (n - |S| - 1)! / n! (v(S + i) - v(S)),  v(S) = mean over background users b of
p(x on S, b elsewhere)

A rule out of play changes the rule vector and the rule score together. Sources: Shapley 1953;
antithetic permutations: Mitchell et al., JMLR 2022.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import factorial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from ml.profile.evidence import AttributeEncoder, Evidence
from ml.profile.fusion import Fusion, tensors
from ml.profile.rules import RuleSet

Kind = Literal["rule", "embedding", "attribute"]
Coalitions = npt.NDArray[np.bool_]
Value = Callable[[Coalitions], npt.NDArray[np.float64]]
"""Worth of coalitions. Shapes: [C, players] → [C]."""

EXACT_PLAYERS = 12
PERMUTATIONS = 64
BACKGROUND = 50
ROWS = 50_000


@dataclass(frozen=True)
class Player:
    """A part of the evidence that is in or out of play as a whole.

    Args:
        columns: Its columns in the matrix of its kind.
    """

    name: str
    kind: Kind
    columns: slice


@dataclass(frozen=True)
class Background:
    """Users whose evidence stands in for what is out of play.

    Args:
        id: Names the sample in results: size and seed.
    """

    id: str
    seed: int
    evidence: Evidence


def draw_background(evidence: Evidence, *, size: int = BACKGROUND, seed: int = 0) -> Background:
    """A seeded sample of users."""
    size = min(size, len(evidence))
    rows = np.random.default_rng(seed).choice(len(evidence), size, replace=False)
    return Background(f"{size} users, seed {seed}", seed, evidence.take(np.sort(rows)))


def players(rules: RuleSet, encoder: AttributeEncoder, *, embedding: int) -> list[Player]:
    """Every rule, the embedding as one, every attribute and event count."""
    found = [Player(name, "rule", slice(i, i + 1)) for i, name in enumerate(rules.names)]
    if embedding:
        found.append(Player("embedding", "embedding", slice(0, embedding)))
    first = 0
    for name, width in encoder.columns.items():
        found.append(Player(name, "attribute", slice(first, first + width)))
        first += width
    return found


def explain(
    fusion: Fusion,
    rules: RuleSet,
    encoder: AttributeEncoder,
    evidence: Evidence,
    background: Background,
    *,
    attributes: Mapping[str, Any] | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> dict[str, Any]:
    """Contributions to one user's final score, as a probability.

    Args:
        evidence: Of the one user.
        attributes: Values shown beside the attributes, by name.
        permutations: Drawn beyond 12 players (half of them the reverse of the other half); up to
            12 all coalitions are counted.

    Returns:
        base, score, contributions (largest first), additivity_error, method, background. The
        contributions add up to score - base.

    Raises:
        ValueError: if it is given more or fewer than one user.
    """
    if len(evidence) != 1:
        raise ValueError(f"an explanation is of one user, got {len(evidence)}")
    seats = players(rules, encoder, embedding=evidence.embedding.shape[1])
    value = coalition_value(fusion, rules, seats, evidence, background.evidence)
    if len(seats) <= EXACT_PLAYERS:
        phi, base, score = exact_shapley(value, len(seats))
        method = f"exact over {2 ** len(seats)} coalitions"
    else:
        phi, base, score = permutation_shapley(
            value, len(seats), permutations=permutations, seed=seed
        )
        method = f"{permutations} antithetic permutations, seed {seed}"
    shown = attributes or {}
    rows = [
        {
            "player": seat.name,
            "kind": seat.kind,
            "value": _shown(seat, evidence, shown),
            "contribution": float(part),
        }
        for seat, part in zip(seats, phi, strict=True)
    ]
    return {
        "base": base,
        "score": score,
        "scale": "probability",
        "contributions": sorted(rows, key=lambda row: -abs(row["contribution"])),
        "additivity_error": abs(score - base - float(phi.sum())),
        "method": method,
        "background": background.id,
    }


def coalition_value(
    fusion: Fusion, rules: RuleSet, seats: list[Player], evidence: Evidence, background: Evidence
) -> Value:
    """The mean score over the background with a coalition's evidence from the user."""
    double = copy.deepcopy(fusion).double().eval()
    user, others = tensors(evidence, torch.float64), tensors(background, torch.float64)
    weights = torch.tensor([rule.weight for rule in rules.rules], dtype=torch.float64)
    total = weights.abs().sum()
    matrix = {"rule": 0, "embedding": 2, "attribute": 3}

    @torch.no_grad()
    def block(coalitions: Coalitions) -> npt.NDArray[np.float64]:
        mixed = [part.repeat(len(coalitions), 1, *[1] * (part.dim() - 1)) for part in others]
        mixed = [
            part.view(len(coalitions), *other.shape)
            for part, other in zip(mixed, others, strict=True)
        ]
        for position, seat in enumerate(seats):
            rows = torch.from_numpy(np.flatnonzero(coalitions[:, position]))
            part = matrix[seat.kind]
            mixed[part][rows, :, seat.columns] = user[part][0, seat.columns]
        hits = mixed[0]
        mixed[1] = hits @ weights / total if total > 0 else torch.zeros(hits.shape[:2]).double()
        p = double.calibrated(double.logit(*(part.flatten(0, 1) for part in mixed)))
        return np.asarray(p.view(len(coalitions), -1).mean(1).numpy())

    def value(coalitions: Coalitions) -> npt.NDArray[np.float64]:
        size = max(1, ROWS // len(background))
        starts = range(0, len(coalitions), size)
        return np.concatenate([block(coalitions[start : start + size]) for start in starts])

    return value


def exact_shapley(value: Value, n: int) -> tuple[npt.NDArray[np.float64], float, float]:
    """Shapley values by all 2^n coalitions, the worth of none and the worth of all."""
    number = np.arange(2**n)
    coalitions = (number[:, None] >> np.arange(n)[None, :] & 1).astype(bool)
    worth = value(coalitions)
    size = coalitions.sum(1)
    weight = np.array([factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)])
    phi = np.empty(n)
    for i in range(n):
        without = number[~coalitions[:, i]]
        phi[i] = (weight[size[without]] * (worth[without | (1 << i)] - worth[without])).sum()
    return phi, float(worth[0]), float(worth[-1])


def permutation_shapley(
    value: Value, n: int, *, permutations: int, seed: int
) -> tuple[npt.NDArray[np.float64], float, float]:
    """Shapley values by random orders and their reverses; every order adds up exactly."""
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(n) for _ in range(max(1, permutations // 2))]
    orders += [order[::-1] for order in orders]
    place = np.argsort(np.stack(orders), axis=1)  # [orders, n]
    # Step k of an order has the first k of it in play.
    coalitions = place[:, None, :] < np.arange(n + 1)[None, :, None]
    flat = coalitions.reshape(-1, n)
    unique, inverse = np.unique(flat, axis=0, return_inverse=True)
    worth = value(unique)[inverse.ravel()].reshape(len(orders), n + 1)
    gained = np.diff(worth, axis=1)
    phi = np.take_along_axis(gained, place, axis=1).mean(0)
    return phi, float(worth[0, 0]), float(worth[0, -1])


def _shown(seat: Player, evidence: Evidence, attributes: Mapping[str, Any]) -> Any:
    if seat.kind == "rule":
        return bool(evidence.hits[0, seat.columns.start] > 0)
    return attributes.get(seat.name) if seat.kind == "attribute" else None
