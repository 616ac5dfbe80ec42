"""Small graphs, what may come into them, and the full pass that an engine is compared with."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zlib import crc32

import numpy as np
import polars as pl
import torch
from hypothesis import strategies as st

from ml.contracts.schema import TELECOM, EdgeType, Feature, GraphSchema, NodeType
from ml.graph.graph import build_graph
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.model import ModelConfig, build_model, embed

SCHEMAS = {
    "telecom": TELECOM,
    "messages": GraphSchema((NodeType("user"),), (EdgeType("user", "writes", "user", "write"),)),
    "two sources": GraphSchema(
        (
            NodeType("user", (Feature("age", "numeric"),)),
            NodeType("shop", (Feature("town", "categorical"),)),
            NodeType("product"),
            NodeType("store"),
        ),
        (
            EdgeType("user", "buys", "product", "trade"),
            EdgeType("shop", "sells", "product", "trade"),
            EdgeType("shop", "likes", "user", "like"),
        ),
    ),
}
"""With features and without; one event for two edge types; a node type without any edges."""

TIME = datetime(2025, 1, 1, tzinfo=UTC)
VALUES = {"numeric": [None, 0.0, 1.0, 7.5], "categorical": [None, "basic", "gold", "unheard of"]}
KINDS = {"numeric": pl.Float64, "categorical": pl.String}


def served(graph, *, layers=2, edge_ages=()):
    """A model whose weights are all different."""
    encoder = FeatureEncoder.fit(graph.schema, graph.features, graph.node_ids)
    config = ModelConfig(hidden=16, heads=2, layers=layers, edge_ages=edge_ages)
    model = build_model(encoder, config, seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.eval(), encoder


class Case:
    """A graph with everything that came so far, and its full pass."""

    def __init__(self, graph, *, layers, edge_ages=()):
        self.graph = graph
        self.model, self.encoder = served(graph, layers=layers, edge_ages=edge_ages)
        self._expected, self.now = None, graph.latest()

    @property
    def start(self):
        return self.model, self.encoder, self.graph

    def append(self, events, features=None):
        self.graph = with_features(self.graph.append(events), features or {})
        self._expected = None

    def expected(self):
        if self._expected is None:
            self._expected = embed(self.model, self.encoder, self.graph, now=self.now)
        return self._expected

    def check(self, engine, *, all_fresh=False):
        """Every row that is not stale equals the full pass."""
        for name, expected in self.expected().items():
            ids, z = engine.embeddings(name)
            place = {node_id: row for row, node_id in enumerate(ids)}
            assert set(ids) == set(self.graph.node_ids[name])
            assert len(place) == len(ids)
            fresh = [i for i in ids if engine.stale_since(name, i) is None]
            assert len(fresh) == len(ids) or not all_fresh
            own = [place[i] for i in fresh]
            theirs = [self.graph.index(name)[i] for i in fresh]
            np.testing.assert_allclose(z[own], expected[theirs], rtol=1e-5, atol=1e-6)


def drained(engine, *, now, budget=7):
    """The engine, once nothing is stale."""
    for _ in range(10_000):
        if not sum(engine.backlog(now=now).rows.values()):
            return engine
        engine.drain(budget, now=now)
    raise AssertionError("the queue does not end")


def with_features(graph, features):
    """Features of some nodes put in the place of those they had; new ids are new nodes."""
    node_ids, frames = dict(graph.node_ids), dict(graph.features)
    for name, frame in features.items():
        node = graph.schema.node(name)
        known = frames[name].to_dicts() if node.features else [{} for _ in node_ids[name]]
        rows = dict(zip(node_ids[name], known, strict=True))
        for row in frame.to_dicts():
            rows[row.pop(node.id_column)] = row
        node_ids[name] = tuple(rows)
        if node.features:
            kinds = {feature.name: KINDS[feature.kind] for feature in node.features}
            frames[name] = pl.DataFrame(list(rows.values()), schema=kinds)
    return replace(graph, node_ids=node_ids, features=frames, _index={}, _pairs={})


def ids_of(name, *, known):
    """Ids of which those above ``known`` are no nodes at the beginning."""
    return [f"{name[0]}{i}" for i in range(known + 3)]


def graph_of(schema, seed):
    """Five nodes of each type and a few events."""
    generator = np.random.default_rng(seed)
    frames = {}
    for node in schema.nodes:
        ids = ids_of(node.name, known=5)[:5]
        values = {f.name: pl.Series(generator.choice(np.array(VALUES[f.kind][1:3]), 5).tolist(),
                                    dtype=KINDS[f.kind]) for f in node.features}  # fmt: skip
        frames[node.table] = pl.DataFrame({node.id_column: ids, **values})
    rows = []
    for edge in schema.edges:
        rows += [
            (edge.event, f"{edge.source[0]}{a}", f"{edge.target[0]}{b}", edge.target)
            for a, b in generator.integers(0, 5, (6, 2))
        ]
    return build_graph(SimpleNamespace(schema=schema, events=frame_of(rows), **frames))


def time_of(row):
    """The time of all events of a pair, so that it is as old in whatever order they come."""
    number = crc32(" ".join(row).encode())
    return None if number % 7 == 0 else TIME + timedelta(days=number % 500 - 400)


def frame_of(rows, times=None):
    """Events from (type, actor, target, target type)."""
    times = times or [time_of(row) for row in rows]
    return pl.DataFrame(
        [(str(i), kind, time, actor, target, target_type)
         for i, (time, (kind, actor, target, target_type))
         in enumerate(zip(times, rows, strict=True))],
        schema={
            "event_id": pl.String, "type": pl.String, "timestamp": pl.Datetime("us", "UTC"),
            "actor": pl.String, "target": pl.String, "target_type": pl.String,
        },
        orient="row",
    )  # fmt: skip


@st.composite
def events_of(draw, schema):
    """Events between known and new nodes, with repeats, loops and types nobody knows."""
    rows = []
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.integers(0, 9)) == 0:
            rows.append(("unheard of", "u0", "u1", "user"))
            continue
        edge = draw(st.sampled_from(schema.edges))
        source = draw(st.sampled_from(ids_of(edge.source, known=5)))
        target = draw(st.sampled_from(ids_of(edge.target, known=5)))
        rows += [(edge.event, source, target, edge.target)] * draw(st.integers(1, 2))
    return frame_of(rows)


@st.composite
def features_of(draw, schema):
    """Now and then features of nodes that are there or not."""
    found = {}
    for node in schema.nodes:
        if draw(st.integers(0, 3)) == 0:
            ids = draw(st.lists(st.sampled_from(ids_of(node.name, known=5)), max_size=3))
            columns = {
                f.name: pl.Series([draw(st.sampled_from(VALUES[f.kind])) for _ in ids],
                                  dtype=KINDS[f.kind]) for f in node.features
            }  # fmt: skip
            found[node.name] = pl.DataFrame(
                {node.id_column: pl.Series(ids, dtype=pl.String), **columns}
            )
    return found
