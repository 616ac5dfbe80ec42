"""The HGT layers over a whole graph, beside PyG's HGTConv with the same parameters.

``--no-compiled`` leaves out PyG under ``torch.compile`` (25 s to compile), ``--no-large`` the
forward pass over ten times the graph; the result is then printed only.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.harness import Memory, Row, Sample, interleave, peak_memory, run
from ml.contracts.schema import TELECOM, EdgeKey
from ml.graph.adjacency import Adjacency, pair_adjacency
from ml.graph.message_types import MessageType, message_types
from ml.hgt.layer import HGTLayer
from ml.hgt.model import EDGE_AGES
from ml.hgt.training.losses import Positives, edge_loss

HIDDEN, HEADS, LAYERS, FEATURES = 64, 4, 2, 32
THREADS = 2
BATCH = 2048
"""Supervised edges of each type in a step, as in training."""
NODE_TYPES = [node.name for node in TELECOM.nodes]
ORDER = message_types(TELECOM)
SHARES = {"calls": 0.3, "orders": 0.15, "clicks": 0.2, "uses": 0.2}
"""Of all events by edge type; clicks go to products and apps, what is left to apps."""


@dataclass(frozen=True)
class Size:
    """Nodes and events of a drawn graph; every event is an edge each way."""

    name: str
    users: int
    products: int
    apps: int
    events: int

    @property
    def num_nodes(self) -> dict[str, int]:
        return {"user": self.users, "product": self.products, "app": self.apps}


USUAL = Size("100k users, 2M events", 100_000, 2_000, 500, 2_000_000)
LARGE = Size("1M users, 20M events", 1_000_000, 2_000, 500, 20_000_000)
SIZES = {"usual": USUAL, "large": LARGE}


def draw_pairs(size: Size, seed: int = 0) -> dict[EdgeKey, Tensor]:
    """Edges by edge type; products and apps are popular by a power law, users by a flatter one."""
    chance = np.random.default_rng(seed)
    left = size.events
    pairs = {}
    for edge in TELECOM.edges:
        last = edge.key == TELECOM.edges[-1].key
        count = left if last else int(SHARES[edge.relation] * size.events)
        left -= count
        ends = [
            _power_law(chance, size.num_nodes[end], count, 0.3 if end == "user" else 0.8)
            for end in (edge.source, edge.target)
        ]
        pairs[edge.key] = torch.from_numpy(np.stack(ends))
    return pairs


def both_ways(pairs: Mapping[EdgeKey, Tensor]) -> dict[EdgeKey, Tensor]:
    """Edges of every message type as PyG takes them: by its key, in the order of the types."""
    return {
        message.key: pairs[message.edge_key].flip(0).contiguous()
        if message.reverse
        else pairs[message.edge_key]
        for message in ORDER
    }


def _power_law(
    chance: np.random.Generator, nodes: int, count: int, exponent: float
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Nodes drawn by a Zipf law over a random order of them."""
    weight = np.arange(1, nodes + 1) ** -exponent
    place = np.searchsorted(np.cumsum(weight) / weight.sum(), chance.random(count))
    return chance.permutation(nodes)[np.minimum(place, nodes - 1)]


class Stack(nn.Module):
    """Linear maps of features, then the layers: ours or PyG's, ours also with ages of edges."""

    def __init__(self, peer: bool, edge_ages: Sequence[float] = ()) -> None:
        super().__init__()
        self.project = nn.ModuleDict({name: nn.Linear(FEATURES, HIDDEN) for name in NODE_TYPES})
        self.layers = nn.ModuleList(_layer(peer, edge_ages) for _ in range(LAYERS))

    def forward(self, features: Mapping[str, Tensor], edges: Any) -> dict[str, Tensor]:
        h_dict = {name: self.project[name](x) for name, x in features.items()}
        for layer in self.layers:
            h_dict = layer(h_dict, edges)
        return h_dict


def _layer(peer: bool, edge_ages: Sequence[float]) -> nn.Module:
    if not peer:
        return HGTLayer(HIDDEN, HEADS, NODE_TYPES, ORDER, edge_ages=edge_ages)
    from torch_geometric.nn import HGTConv

    layer: nn.Module = HGTConv(
        HIDDEN, HIDDEN, (NODE_TYPES, [message.key for message in ORDER]), heads=HEADS
    )
    return layer


@dataclass(frozen=True)
class Problem:
    """A graph with random features, and the edges as one of the two sides takes them."""

    stack: Stack
    features: dict[str, Tensor]
    pairs: dict[EdgeKey, Tensor]
    edges: Adjacency | dict[EdgeKey, Tensor]

    @classmethod
    def of(cls, size: Size, *, peer: bool) -> "Problem":
        torch.set_num_threads(THREADS)
        torch.manual_seed(0)
        stack = Stack(peer)
        drawn = torch.Generator().manual_seed(0)
        features = {
            name: torch.randn(n, FEATURES, generator=drawn) for name, n in size.num_nodes.items()
        }
        pairs = draw_pairs(size)
        if not peer:
            forward = {MessageType(*key): edges for key, edges in pairs.items()}
            return cls(stack, features, pairs, pair_adjacency(size.num_nodes, forward))
        return cls(stack, features, pairs, both_ways(pairs))

    def with_ages(self) -> "Problem":
        """The same nodes and pairs, each pair in a random one of the usual classes of ages."""
        generator = torch.Generator().manual_seed(1)
        apart = {}
        for key, pairs in self.pairs.items():
            ages = torch.randint(len(EDGE_AGES) + 1, (pairs.size(1),), generator=generator)
            for age in range(len(EDGE_AGES) + 1):
                apart[MessageType(*key, age=age)] = pairs[:, ages == age]
        size = {name: len(x) for name, x in self.features.items()}
        stack = Stack(peer=False, edge_ages=EDGE_AGES)
        return Problem(stack, self.features, self.pairs, pair_adjacency(size, apart))

    def forward(self) -> dict[str, Tensor]:
        with torch.no_grad():
            out: dict[str, Tensor] = self.stack(self.features, self.edges)
        return out


def prepare_forward(name: str, peer: bool) -> Callable[[], object]:
    """Work for a process of its own, whose memory is measured."""
    return Problem.of(SIZES[name], peer=peer).forward


def prepare_step(name: str, peer: bool) -> Callable[[], object]:
    """The same for a training step."""
    return Step(Problem.of(SIZES[name], peer=peer))


class Step:
    """Forward over the whole graph, InfoNCE on a batch of every edge type, backward, Adam."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        nodes = {name: len(x) for name, x in problem.features.items()}
        self.positives = {
            key: (Positives.of(src, dst, nodes[key[0]]), Positives.of(dst, src, nodes[key[2]]))
            for key, (src, dst) in problem.pairs.items()
        }
        self.optimizer = torch.optim.Adam(problem.stack.parameters())
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self) -> float:
        problem = self.problem
        z_dict = {
            name: F.normalize(h, dim=1)
            for name, h in problem.stack(problem.features, problem.edges).items()
        }
        loss = torch.zeros(())
        for key, pairs in problem.pairs.items():
            batch = torch.randint(pairs.size(1), (BATCH,), generator=self.generator)
            forward, backward = self.positives[key]
            found = edge_loss(
                z_dict[key[0]],
                z_dict[key[2]],
                pairs[:, batch],
                forward=forward,
                backward=backward,
                scale=torch.tensor(10.0),
                bias_src=torch.zeros(len(z_dict[key[0]])),
                bias_dst=torch.zeros(len(z_dict[key[2]])),
            )
            assert found is not None
            loss = loss + found
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())


def usual(*, compiled: bool) -> list[Row]:
    """Time and memory of a forward pass and of a training step, on the issue's graph."""
    ours, peer = Problem.of(USUAL, peer=False), Problem.of(USUAL, peer=True)
    peer.stack.load_state_dict(ours.stack.state_dict())
    _check(ours, peer)
    forward = {"ours": ours.forward, "peer": peer.forward}
    if compiled:
        fast = Problem(torch.compile(peer.stack), peer.features, peer.pairs, peer.edges)  # type: ignore[arg-type]
        forward["compiled"] = fast.forward
    times = interleave(forward, repeat=5)
    row = partial(Row, size=USUAL.name, threads=THREADS, peer_name="PyG HGTConv")
    rows = [row(what="HGT forward", ours=times["ours"], peer=times["peer"], required=6)]
    if compiled:
        rows.append(
            row(
                what="HGT forward, compiled peer",
                ours=times["ours"],
                peer=times["compiled"],
                peer_name="PyG, torch.compile",
                required=2,
            )
        )
    steps = interleave({"ours": Step(ours), "peer": Step(peer)}, repeat=3, seconds=240)
    rows.append(row(what="HGT train step", ours=steps["ours"], peer=steps["peer"], required=5))
    del peer, forward
    rows += beside_ages(ours)
    del ours
    for what, prepare in (("forward", prepare_forward), ("train step", prepare_step)):
        left, right = (_peak(prepare, "usual", peer) for peer in (False, True))
        rows.append(
            row(
                what=f"HGT {what}, peak memory",
                ours=left.peak,
                peer=right.peak,
                unit="B",
                required=4,
                notes=f"before it began: {left.before / 1e9:.2f} and {right.before / 1e9:.2f} GB",
            )
        )
    return rows


def beside_ages(plain: Problem) -> list[Row]:
    """What ages of edges cost."""
    sides = {"ours": plain.with_ages(), "peer": plain}
    forward = {name: side.forward for name, side in sides.items()}
    steps = {name: Step(side) for name, side in sides.items()}
    rows = []
    for what, work in (("forward", forward), ("train step", steps)):
        times = interleave(work, repeat=5)
        rows.append(
            Row(
                what=f"HGT {what}, {len(EDGE_AGES) + 1} ages of edges", size=USUAL.name,
                threads=THREADS, ours=times["ours"], peer=times["peer"],
                peer_name="ours, without ages",
            )
        )  # fmt: skip
    return rows


def _check(ours: Problem, peer: Problem) -> None:
    """Both sides compute the same."""
    expected, got = peer.forward(), ours.forward()
    for name, h in expected.items():
        error = float((got[name] - h).abs().max() / h.abs().max())
        if error > 1e-5:
            raise AssertionError(f"states of {name} differ by {error:.1e}, expected 1e-5")


def _peak(prepare: Callable[[str, bool], Callable[[], object]], name: str, peer: bool) -> Memory:
    return peak_memory(prepare, name, peer)


def large() -> list[Row]:
    """The cost of an edge on ten times the graph, and the memory it takes."""
    small, big = Problem.of(USUAL, peer=False), Problem.of(LARGE, peer=False)
    samples = interleave({"usual": small.forward, "large": big.forward}, repeat=5)
    del small, big
    memory = _peak(prepare_forward, "large", False)
    factor = LARGE.events / USUAL.events
    per_edge = [
        Sample(s.median / n, s.low / n, s.high / n, s.repeats)
        for s, n in ((samples["large"], factor), (samples["usual"], 1.0))
    ]
    return [
        Row(
            what="HGT forward, time per 2M events",
            size=LARGE.name,
            threads=THREADS,
            ours=per_edge[0],
            peer=per_edge[1],
            peer_name=f"ours, {USUAL.name}",
            required=0.5,
            notes="an edge may cost twice as much; "
            f"{2 * LARGE.events / 1e6:.0f}M directed edges take {samples['large'].median:.2f} s",
        ),
        Row(
            what="HGT forward, peak memory",
            size=LARGE.name,
            threads=THREADS,
            ours=memory.peak,
            peer=10e9,
            peer_name="limit",
            unit="B",
            required=1,
            notes=f"before it began: {memory.before / 1e9:.2f} GB",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, text in (("compiled", "PyG under torch.compile"), ("large", "1M users, 20M events")):
        parser.add_argument(
            f"--{name}", action=argparse.BooleanOptionalAction, default=True, help=text
        )
    options = parser.parse_args()
    run(
        lambda: usual(compiled=options.compiled) + (large() if options.large else []),
        "hgt",
        keep=options.compiled and options.large,
    )


if __name__ == "__main__":
    main()
