"""Small fusions with random weights and evidence, for the tests of explanations."""

from math import factorial
from types import SimpleNamespace

import numpy as np
import torch

from ml.contracts.schema import EdgeType, Feature, GraphSchema, NodeType
from ml.explanation.explanation import Subject
from ml.explanation.players import Kinds
from ml.explanation.shapley import ShapleyValues, Value, subsets
from ml.fusion.background import draw_background
from ml.fusion.evidence import AttributeEncoder, Evidence
from ml.fusion.fusion import Fusion, Widths
from ml.fusion.scoring import ProfileModel
from ml.hgt.encoders import Scaler
from ml.rules.rule_set import Rule, RuleSet

WEIGHTS = (1.0, -2.0, 0.5, 3.0, -0.7)
WIDTH = 4


def schema_of(events=("call", "order")):
    """Users with two attributes, and an edge type from users to items for each event."""
    items = tuple(NodeType(f"item{i}") for i in range(len(events)))
    features = (Feature("fee", "numeric"), Feature("tenure", "numeric"))
    edges = tuple(
        EdgeType("user", f"{event}s", item.name, event)
        for event, item in zip(events, items, strict=True)
    )
    return GraphSchema((NodeType("user", features), *items), edges)


def small(rules=3, events=("call", "order"), rows=7, seed=0, attributes=True):
    """A profile model, one user to explain, a background and embeddings of the coalitions."""
    generator = np.random.default_rng(seed)
    schema = schema_of(events)
    rule_set = RuleSet([Rule(f"r{i}", "fee > 1", WEIGHTS[i % 5]) for i in range(rules)], schema)
    numeric = {name: Scaler(0.0, 1.0) for name in ("fee", "tenure") if attributes}
    counts = {f"event_counts.{event}": Scaler(0.0, 1.0) for event in events if attributes}
    encoder = AttributeEncoder(numeric, counts, {})
    n = rows + 1
    hits = generator.random((n, rules)) < 0.5
    evidence = Evidence(
        hits.astype(np.float32),
        np.asarray(rule_set.score(hits), np.float32),
        generator.normal(size=(n, WIDTH)).astype(np.float32),
        generator.normal(size=(n, sum(encoder.columns.values()))).astype(np.float32),
    )
    fusion = Fusion(Widths.of(evidence), 6)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.copy_(torch.from_numpy(generator.normal(size=tuple(parameter.shape))))
        fusion.platt.copy_(torch.tensor([1.3, -0.2]))
    others = evidence.take(np.arange(1, n))
    background = draw_background(others, [f"u{i}" for i in range(rows)], size=rows, seed=1)
    model = ProfileModel(schema, rule_set.rules, encoder, fusion)
    user = evidence.take(np.array([0]))
    kinds = Kinds.of(schema)
    direction = generator.normal(size=(len(kinds), WIDTH))

    def embed(coalitions):
        """Not additive: the tanh mixes the kinds."""
        return np.tanh(coalitions @ direction + 0.3).astype(np.float32)

    values = {"fee": 70.0, **{f"event_counts.{event}": 3 for event in events}}
    return SimpleNamespace(
        model=model, rules=rule_set, fusion=fusion, background=background, kinds=kinds,
        embed=embed, user=user, subject=Subject(user, values),
    )  # fmt: skip


def worth_by_hand(game, coalition):
    """The worth of one coalition of rules and kinds, straight through the fusion."""
    from ml.fusion.fusion import score

    others = game.background.evidence
    rules, kinds = coalition[: len(game.rules)], coalition[len(game.rules) :]
    owner = game.kinds.owner(game.model.encoder)
    hits = np.where(rules, game.user.hits, others.hits)
    mixed = Evidence(
        hits,
        np.asarray(game.rules.score(hits > 0), np.float64),
        np.repeat(game.embed(kinds[None]), len(others), 0),
        np.where(kinds[owner], game.user.attributes, others.attributes),
    )
    return score(game.fusion, mixed).final.mean()


def exact_shapley(value: Value, n: int) -> ShapleyValues:
    """Shapley values of any game by all 2^n coalitions: the oracle of the quicker ways."""
    number, coalitions = np.arange(2**n), subsets(n)
    worth, size = value(coalitions), coalitions.sum(1)
    weight = np.array([factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)])
    phi = np.empty(n)
    for i in range(n):
        without = number[~coalitions[:, i]]
        phi[i] = (weight[size[without]] * (worth[without | (1 << i)] - worth[without])).sum()
    return ShapleyValues(phi, float(worth[0]), float(worth[-1]), np.zeros(n))
