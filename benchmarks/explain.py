"""Explanations of one user beside shap, on the same model and the same background of 50 users.

Peers get the model as a function over a batch of coalitions, in single precision and in as few
calls as they can make; ours computes in double precision. What both say is compared first. Both
have one thread: a worker explains beside other work, and ours is too short to share out.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import shap
import torch

from benchmarks.harness import Row, Sample, interleave, run
from ml.contracts.schema import USER
from ml.data.synthesis import SynthesisConfig, synthesize
from ml.explanation.counterfactual import CounterfactualUser, counterfactual_user
from ml.explanation.flat import flat_game
from ml.explanation.game import Weights, group_game, mixed_game, rule_side
from ml.explanation.neighbourhood import NeighbourhoodIndex
from ml.explanation.players import Kinds
from ml.explanation.shapley import ShapleyValues, subsets
from ml.fusion.background import Background, draw_background
from ml.fusion.evidence import AttributeEncoder, Evidence, gather_evidence, profile_frame
from ml.fusion.fusion import Fusion, FusionConfig, fit_fusion
from ml.graph.graph import build_graph
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.model import ModelConfig, build_model, embed
from ml.hgt.row_embedding import full_states
from ml.rules.rule_set import DEFAULT_RULES, Rule, RuleSet

USERS, EVENTS = 2_000, 80_000
SIZE = "1 user, background 50"
RULES = (
    *DEFAULT_RULES,
    Rule("caller", "event_counts.get('call', 0) >= 10", 0.5),
    Rule("costly_months", "monthly_fee / max(tenure_months, 1) > 5", 0.5),
    Rule("shopper", "event_counts.get('order', 0) + event_counts.get('click', 0) > 25", -0.5),
    Rule("good_level", "level in ['gold', 'silver'] and not tenure_months is None", -0.5),
)
THREADS = 1
RATED = 5
"""Users over which errors are averaged."""

Matrix = npt.NDArray[Any]
Model = Callable[[Matrix], Matrix]


@dataclass(frozen=True)
class Setting:
    """A fusion with its evidence, and one user taken apart by the network."""

    fusion: Fusion
    rules: RuleSet
    encoder: AttributeEncoder
    evidence: Evidence
    background: Background
    user: Evidence
    counterfactual: CounterfactualUser
    kinds: Kinds


def settings() -> tuple[Setting, Setting]:
    """With attributes and counts as the system has it, and without as the flat view began."""
    tables = synthesize(SynthesisConfig(users=USERS, events=EVENTS))
    graph = build_graph(tables)
    encoder = FeatureEncoder.fit(graph.schema, graph.features, graph.node_ids)
    network = build_model(encoder, ModelConfig(), seed=0).eval()
    rules = RuleSet(RULES, graph.schema)
    frame = profile_frame(graph)
    attributes = AttributeEncoder.fit(graph.schema, frame)
    z = embed(network, encoder, graph)[USER]
    evidence = gather_evidence(rules, attributes, frame, z)
    bare = AttributeEncoder({}, {}, {})
    assert graph.labels is not None
    degree = NeighbourhoodIndex(graph)
    busy = int(np.argsort([degree.of(name).num_edges for name in graph.node_ids[USER]])[USERS // 2])
    states = full_states(network, encoder, graph)
    around = degree.of(graph.node_ids[USER][busy])
    counterfactual = counterfactual_user(network, encoder, states, around, frame[busy])
    found = []
    for known, of_users in ((attributes, evidence), (bare, without_attributes(evidence))):
        fusion = fit_fusion(of_users, graph.labels.astype(np.float64), FusionConfig())
        background = draw_background(of_users, graph.node_ids[USER])
        user = of_users.take(np.array([busy]))
        kinds = Kinds.of(graph.schema)
        found.append(
            Setting(fusion, rules, known, of_users, background, user, counterfactual, kinds)
        )
    return found[0], found[1]


def without_attributes(evidence: Evidence) -> Evidence:
    none = evidence.attributes[:, :0]
    return Evidence(evidence.hits, evidence.rule_score, evidence.embedding, none)


def single(fusion: Fusion, *parts: torch.Tensor) -> torch.Tensor:
    """The fused probability in single precision; parts broadcast to [C, B, …]."""
    shape = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
        *(part.shape[:2] for part in parts)
    )
    flat = [part.expand(*shape, *part.shape[2:]).flatten(0, 1) for part in parts]
    with torch.no_grad():
        return fusion.calibrated(fusion.logit(*flat)).view(shape).mean(1)


def tensors(evidence: Evidence) -> list[torch.Tensor]:
    parts = (evidence.hits, evidence.rule_score, evidence.embedding, evidence.attributes)
    return [torch.from_numpy(np.ascontiguousarray(part)) for part in parts]


def groups_model(at: Setting) -> Model:
    """Eight rules, rule score, embedding → the mean over the background."""
    mine, others = tensors(at.user), tensors(at.background.evidence)

    def model(masks: Matrix) -> Matrix:
        inside = torch.from_numpy(masks.astype(bool))[:, None]  # [C, 1, 10]
        hits = torch.where(inside[..., :8], mine[0], others[0])
        score = torch.where(inside[..., 8], mine[1], others[1])
        z = torch.where(inside[..., 9:], mine[2], others[2])
        return single(at.fusion, hits, score, z, others[3][None]).numpy()

    return model


def evidence_model(at: Setting, *, remember: bool) -> Model:
    """Eight rules and five kinds → the mean over the background, through network and fusion.

    Args:
        remember: Embed each of the 32 states once a call instead of each coalition.
    """
    mine, others = tensors(at.user), tensors(at.background.evidence)
    weights = torch.tensor([rule.weight for rule in at.rules.rules])
    owner = torch.from_numpy(at.kinds.owner(at.encoder))

    def model(masks: Matrix) -> Matrix:
        coalitions = masks.astype(bool)
        kinds = coalitions[:, 8:]
        if remember:
            states, place = np.unique(kinds, axis=0, return_inverse=True)
            z = torch.from_numpy(at.counterfactual.embed(states)[place.ravel()])
        else:
            z = torch.from_numpy(at.counterfactual.embed(kinds))
        inside = torch.from_numpy(coalitions)[:, None]
        hits = torch.where(inside[..., :8], mine[0], others[0])
        attributes = torch.where(inside[..., 8:][..., owner], mine[3], others[3])
        return single(
            at.fusion, hits, hits @ weights / weights.abs().sum(), z[:, None], attributes
        ).numpy()

    return model


def exact_peer(model: Model, n: int) -> Callable[[], Matrix]:
    """shap.ExactExplainer in one batch."""
    explainer = shap.ExactExplainer(model, np.zeros((1, n)))
    return lambda: explainer(np.ones((1, n)), batch_size=2**n).values[0]


def our_groups(at: Setting) -> ShapleyValues:
    weights = Weights.of(at.fusion)
    return group_game(weights, at.rules.rules, at.user, at.background.evidence).exact()


def our_evidence(at: Setting) -> ShapleyValues:
    weights, states = Weights.of(at.fusion), subsets(len(at.kinds))
    side = rule_side(weights, at.rules.rules, at.user, at.background.evidence)
    game = mixed_game(
        weights, side, at.user, at.background.evidence,
        states=states, embeddings=at.counterfactual.embed(states), owner=at.kinds.owner(at.encoder),
    )  # fmt: skip
    return game.exact()


def our_flat(at: Setting, user: Evidence, *, pairs: int, seed: int = 0) -> Matrix:
    game = flat_game(Weights.of(at.fusion), user, at.background.evidence, columns=[])
    return game.sample(pairs=pairs, seed=seed).phi


def kernel_peer(at: Setting) -> Callable[..., Matrix]:
    """shap.KernelExplainer without its regularisation, on the 73 features."""

    def model(x: Matrix) -> Matrix:
        rows = torch.from_numpy(x.astype(np.float32))
        with torch.no_grad():
            logit = at.fusion.logit(rows[:, :8], rows[:, 8], rows[:, 9:], rows[:, :0])
            return at.fusion.calibrated(logit).numpy()

    explainer = shap.KernelExplainer(model, features(at.background.evidence))

    def explain(user: Evidence, seed: int = 0) -> Matrix:
        np.random.seed(seed)  # the peer draws from the global state
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return explainer.shap_values(features(user), l1_reg=0, silent=True)[0]

    return explain


def features(evidence: Evidence) -> Matrix:
    return np.hstack([evidence.hits, evidence.rule_score[:, None], evidence.embedding])


def rmse(found: list[Matrix], expected: list[Matrix]) -> float:
    return float(np.sqrt(np.mean((np.stack(found) - np.stack(expected)) ** 2)))


def agree(ours: ShapleyValues, peer: Matrix) -> str:
    """How far the two are apart; more than rounding is an error of the benchmark."""
    apart = float(np.abs(ours.phi - peer).max())
    if apart > 1e-6:
        raise AssertionError(f"ours and the peer differ by {apart:.1e}, expected 1e-6 at most")
    return f"{apart:.0e} apart"


def exact_rows(full: Setting, bare: Setting) -> list[Row]:
    groups = exact_peer(groups_model(bare), 10)
    naive = exact_peer(evidence_model(full, remember=False), 13)
    kind = exact_peer(evidence_model(full, remember=True), 13)
    told = [agree(our_groups(bare), groups())]
    told += [agree(our_evidence(full), peer()) for peer in (naive, kind)]
    ten = interleave({"ours": partial(our_groups, bare), "peer": groups}, repeat=21)
    thirteen = interleave(
        {"ours": partial(our_evidence, full), "peer": naive, "kind": kind}, repeat=7
    )
    edges = full.counterfactual.neighbourhood.num_edges
    return [
        Row(
            what="ten flat groups, exact", size=SIZE, ours=ten["ours"], peer=ten["peer"],
            peer_name="shap.ExactExplainer", required=8, threads=THREADS,
            notes=told[0],
        ),
        Row(
            what="thirteen players through the network, exact", size=f"{SIZE}, {edges} edges",
            ours=thirteen["ours"], peer=thirteen["peer"], peer_name="shap.ExactExplainer",
            required=50, threads=THREADS,
            notes=f"{told[1]}; the peer's model embeds every coalition",
        ),
        Row(
            what="the same, the peer's model remembers embeddings", size=f"{SIZE}, {edges} edges",
            ours=thirteen["ours"], peer=thirteen["kind"], peer_name="shap.ExactExplainer",
            threads=THREADS, notes=told[2],
        ),
    ]  # fmt: skip


def flat_rows(at: Setting) -> list[Row]:
    users = [at.evidence.take(np.array([row])) for row in range(RATED)]
    expected = [our_flat(at, user, pairs=200_000, seed=9) for user in users]
    peer = kernel_peer(at)
    peer_error = rmse([peer(user, seed) for seed, user in enumerate(users)], expected)
    for pairs in (50, 100, 200, 500, 1000, 2000, 5000):
        error = rmse([our_flat(at, u, pairs=pairs, seed=s) for s, u in enumerate(users)], expected)
        if error <= peer_error:
            break
    times: dict[str, Sample] = interleave(
        {"ours": partial(our_flat, at, users[0], pairs=pairs), "peer": partial(peer, users[0])},
        repeat=21,
    )
    size, name = f"73 features, {SIZE}", "shap.KernelExplainer(l1_reg=0)"
    spread = float(np.sqrt(np.mean(np.square(expected))))
    return [
        Row(
            what=f"flat view, {pairs} antithetic pairs", size=size, ours=times["ours"],
            peer=times["peer"], peer_name=name, required=5, threads=THREADS,
            notes=f"RMSE {error:.1e} and {peer_error:.1e}, of values of {spread:.1e}",
        ),
        Row(
            what="its error", size=f"{size}, {RATED} users", ours=error, peer=peer_error,
            peer_name=name, unit="RMSE", required=1, threads=THREADS,
            notes="against 200,000 pairs",
        ),
    ]  # fmt: skip


def rows() -> list[Row]:
    torch.set_num_threads(THREADS)
    full, bare = settings()
    return [*exact_rows(full, bare), *flat_rows(bare)]


if __name__ == "__main__":
    run(rows, "explain")
