"""The incremental engine beside full passes: PyG's with the same weights, and our own.

Every turn takes new events. The first turns do not count: hubs are gone through whole when they
are met first, and what has arrived at them is kept from then on.
"""

from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from benchmarks.harness import Row, Sample, run, timed
from benchmarks.hgt import (
    HEADS,
    HIDDEN,
    LAYERS,
    NODE_TYPES,
    ORDER,
    THREADS,
    USUAL,
    both_ways,
    draw_pairs,
)
from ml.contracts.schema import TELECOM, USER, EdgeKey
from ml.graph.adjacency import pair_adjacency
from ml.graph.graph import Edges, Graph
from ml.graph.messages import pair_tensors
from ml.hgt.encoders import FeatureEncoder, NodeInputs
from ml.hgt.model import HGT, ModelConfig, build_model, graph_inputs
from ml.incremental.engine import EngineConfig, IncrementalEngine
from ml.incremental.recompute import full_pass

EVENTS, TICK = 1_000, 10
"""Events of a batch, and of a tick of 50 ms at 200 events a second."""

TURNS, WARMUP, TICKS, READS, PYG_TURNS = 7, 3, 4, 5, 3
EVERYTHING = 10**12
NEVER_KEPT = EngineConfig(kept_degree=10**12)


def draw_graph() -> Graph:
    """The graph of ``benchmarks.hgt`` with ids and random features."""
    chance = np.random.default_rng(0)
    ids = {name: tuple(f"{name[0]}{i}" for i in range(n)) for name, n in USUAL.num_nodes.items()}
    features = {}
    for node in TELECOM.nodes:
        size = USUAL.num_nodes[node.name]
        columns: dict[str, Any] = {name: chance.normal(size=size) for name in node.names("numeric")}
        columns |= {name: chance.choice(["a", "b"], size) for name in node.names("categorical")}
        features[node.name] = pl.DataFrame(columns)
    edges = {key: Edges(*pairs.numpy()) for key, pairs in usual_pairs().items()}
    return Graph(TELECOM, ids, features, edges)


@cache
def usual_pairs() -> dict[EdgeKey, Tensor]:
    """The pairs that the graph is drawn from."""
    return draw_pairs(USUAL)


def draw_events(size: int, *, seed: int) -> pl.DataFrame:
    """Events with ends drawn by the laws of the graph: its sources with other targets."""
    chance, pairs = np.random.default_rng(seed), usual_pairs()
    share = np.array([drawn.size(1) for drawn in pairs.values()]) / USUAL.events
    rows = []
    for place in chance.choice(len(share), size, p=share):
        edge = TELECOM.edges[place]
        source, target = (int(chance.choice(end)) for end in pairs[edge.key].numpy())
        rows.append((edge.event, f"u{source}", f"{edge.target[0]}{target}", edge.target))
    return pl.DataFrame(rows, schema=["type", "actor", "target", "target_type"], orient="row")


class Peer:
    """The model with PyG's layers of the same weights; it is spared the neighbourhoods."""

    def __init__(self, model: HGT, inputs: dict[str, NodeInputs], graph: Graph) -> None:
        from torch_geometric.nn import HGTConv

        self.model, self.inputs = model, inputs
        pairs = pair_tensors(graph)
        self.edges = both_ways({message.edge_key: own for message, own in pairs.items()})
        self.layers = []
        for layer in model.layers:
            conv = HGTConv(
                HIDDEN, HIDDEN, (NODE_TYPES, [message.key for message in ORDER]), heads=HEADS
            )
            conv.load_state_dict(layer.state_dict())
            self.layers.append(conv.eval())

    @torch.no_grad()
    def __call__(self) -> dict[str, Tensor]:
        identity, h_dict = self.model.input_states(self.inputs)
        states = [identity, h_dict]
        for layer in self.layers:
            states.append(layer(states[-1], self.edges))
        return {
            name: self.model.finish(name, self.model.output([h[name] for h in states]))
            for name in NODE_TYPES
        }


@dataclass
class Times:
    """Seconds by what took them, of the turns that count."""

    counted: bool = False
    found: dict[str, list[float]] = field(default_factory=dict)

    def note(self, what: str, seconds: float) -> None:
        if self.counted:
            self.found.setdefault(what, []).append(seconds)

    def __getitem__(self, what: str) -> Sample:
        return Sample.of(self.found[what])


def touched(events: pl.DataFrame) -> dict[str, list[str]]:
    """Ends of the events by node type."""
    found = {USER: events["actor"].to_list()}
    for target, target_type in events.select("target", "target_type").iter_rows():
        found.setdefault(target_type, []).append(target)
    return found


def refresh_ends(engine: IncrementalEngine, events: pl.DataFrame, now: float) -> None:
    for node_type, ids in touched(events).items():
        engine.refresh(node_type, ids, now=now)


def batch(
    times: Times, engine: IncrementalEngine, plain: IncrementalEngine, size: int, now: float
) -> None:
    """Events in one batch: states, readers of stale users, the rows of all ends, then everything.

    Args:
        plain: An engine that keeps nothing of hubs, beside it for the states alone.
    """
    events = draw_events(size, seed=int(1_000 * now))
    what = f"{size:,} events"
    times.note(f"{what}, plain", timed(lambda: plain.apply(events, now=now)))
    states = timed(lambda: engine.apply(events, now=now))
    times.note(what, states)
    stale = [u for u in draw_users(now) if engine.stale_since(USER, u) is not None]
    one = [timed(partial(engine.refresh, USER, [user], now=now)) for user in stale[:READS]]
    many = timed(lambda: engine.refresh(USER, stale[READS:1_000], now=now))
    for seconds in one:
        times.note("one read", seconds)
    if size == EVENTS:
        times.note("many reads", many)
    ends = timed(lambda: refresh_ends(engine, events, now))
    rest = timed(lambda: engine.drain(EVERYTHING, now=now))
    ends, whole = states + ends, states + sum(one) + many + ends + rest
    for part, seconds in (("ends", ends), ("everything", whole)):
        times.note(f"{what}, {part}", seconds)
        times.note(f"{what}, {part}, each", seconds / size)


def draw_users(now: float) -> list[str]:
    chance = np.random.default_rng(int(now))
    return [f"u{i}" for i in chance.choice(USUAL.users, 2_000, replace=False)]


def rows() -> list[Row]:
    """Measure in turns, so that noise meets all alike."""
    torch.set_num_threads(THREADS)
    graph = draw_graph()
    encoder = FeatureEncoder.fit(TELECOM, graph.features, graph.node_ids)
    model = build_model(encoder, ModelConfig(HIDDEN, HEADS, LAYERS), seed=0).eval()
    inputs = graph_inputs(encoder, graph)
    peer = Peer(model, inputs, graph)
    adjacency = pair_adjacency(graph.num_nodes, pair_tensors(graph))
    engine = IncrementalEngine.start(model, encoder, graph)
    plain = IncrementalEngine.start(model, encoder, graph, config=NEVER_KEPT)
    check(engine, peer)
    times = Times()
    for turn in range(WARMUP + TURNS):
        times.counted = turn >= WARMUP
        batch(times, engine, plain, EVENTS, turn)
        for place in range(TICKS):
            batch(times, engine, plain, TICK, turn + (place + 1) / 10)
        times.note("our pass", timed(lambda: full_pass(model, inputs, adjacency)))
        if WARMUP <= turn < WARMUP + PYG_TURNS:
            times.note("PyG", timed(peer))
    return [*told(times), *kept(engine, times)]


def check(engine: IncrementalEngine, peer: Peer) -> None:
    """Both sides compute the same: the first layer's states are equal."""
    with torch.no_grad():
        _, h_dict = peer.model.input_states(peer.inputs)
        expected = peer.layers[0](h_dict, peer.edges)
    for name, h in expected.items():
        np.testing.assert_allclose(engine.caches[name].hidden[1].values, h.numpy(), 1e-3, 1e-4)


def told(times: Times) -> list[Row]:
    """Rows of the table about events."""
    usual: dict[str, Any] = {"size": USUAL.name, "threads": THREADS}
    pyg = usual | {"peer": times["PyG"], "peer_name": "PyG, full pass"}
    found = [Row(what="full pass", ours=times["our pass"], **pyg)]
    for what in ("1,000 events", "10 events"):
        found += [
            Row(what=f"{what}: states exact", ours=times[what], **pyg,
                notes="all but the last layer of every node; embeddings are marked stale"),
            Row(what=f"{what}: and rows of their ends", ours=times[f"{what}, ends"], **pyg),
            Row(what=f"{what}: everything exact", ours=times[f"{what}, everything"], **pyg),
        ]  # fmt: skip
    return [
        *found,
        Row(what="work an event, everything exact", ours=times["1,000 events, everything, each"],
            required=1_000, **pyg, notes="a thousandth of what 1,000 events take"),
        Row(what="work an event of 10, everything exact", ours=times["10 events, everything, each"],
            required=1_000, **pyg,
            notes="a tenth of what 10 events take; what they reach is shared by few events"),
        Row(what="work an event, rows of its ends", ours=times["10 events, ends, each"],
            required=1_000, **pyg,
            notes="a tenth of what 10 events take; what else they make stale is drained by budget"),
        Row(what="a read of one stale user", ours=times["one read"], **pyg),
        Row(what="a read of 1,000 stale users", ours=times["many reads"], **pyg),
        *(
            Row(what=f"{what}: states exact", ours=times[what], peer=times[f"{what}, plain"],
                peer_name="hubs whole each time", **usual,
                notes="what has arrived at hubs is kept, only new edges are added")
            for what in ("1,000 events", "10 events")
        ),
    ]  # fmt: skip


def kept(engine: IncrementalEngine, times: Times) -> list[Row]:
    """Rows of the table about checkpoints, audits and merges."""
    model, encoder = engine.model, engine.encoder
    relations = engine.adjacency.relations.values()
    usual: dict[str, Any] = {"size": USUAL.name, "threads": THREADS}
    times.counted = True
    state = engine.checkpoint()
    for _ in range(3):
        times.note("checkpoint", timed(engine.checkpoint))
        times.note(
            "restore", timed(lambda: IncrementalEngine.restore(model, encoder, state, now=0))
        )
        times.note("audit", timed(lambda: engine.audit(rows=200, seed=0)))
        times.note("backlog", timed(lambda: engine.backlog(now=1e6)))
        times.note("merge", sum(timed(relation.merge) for relation in relations))
    return [
        Row(what="checkpoint", ours=times["checkpoint"], **usual),
        Row(what="checkpoint, size", ours=float(len(state)), unit="B", **usual),
        Row(what="restore", ours=times["restore"], **usual, notes="with a full pass"),
        Row(what="audit", ours=times["audit"], **usual, notes="with a full pass"),
        Row(what="merging new edges of all types", ours=times["merge"], **usual),
        Row(what="backlog", ours=times["backlog"], **usual),
    ]


if __name__ == "__main__":
    run(rows, "incremental")
