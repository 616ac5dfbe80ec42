"""A graph that grows and its embeddings: exact but for rows that are marked stale.

Every state but the last is brought up to date at once, on the nodes that the events reach and on no
others; embeddings are marked stale and computed when their turn comes or when somebody reads them.
In whatever order that happens, the result is that of a full pass over the graph.

An event counts by the pair of nodes that it joins and not by its id: pairs are distinct, so an
event that comes again changes nothing, however late, and no ids need to be kept. Where the model
knows ages of edges, a pair keeps the age with which it came.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from ml.graph.adjacency import pair_adjacency
from ml.graph.graph import Graph
from ml.graph.growing import GrowingAdjacency
from ml.graph.message_types import MessageType
from ml.graph.messages import pair_tensors
from ml.hgt.encoders import FeatureEncoder, NodeInputs
from ml.hgt.model import EMBEDDING_DIM, HGT, check_schema, graph_inputs
from ml.incremental import snapshot
from ml.incremental.arrivals import SchemaChanged, check_features, links_of
from ml.incremental.audit import Audit, compare
from ml.incremental.frontier import Frontier
from ml.incremental.hubs import Hubs
from ml.incremental.intake import Intake
from ml.incremental.node_cache import NEVER, NodeCache
from ml.incremental.priority import PriorityConfig, Stale, select
from ml.incremental.recompute import FullPass, Recomputation, full_pass
from ml.incremental.results import ApplyResult, Backlog, RefreshResult

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How the engine works; none of it changes a result.

    Args:
        priority: Which stale rows come first.
        merge_share: New edges of a type are sorted in once they are more than this share of the
            sorted ones, and more than ``merge_least``.
        kept_degree: Of nodes with so many in-edges what has arrived is kept, and only new edges
            are added to it.
    """

    priority: PriorityConfig = field(default_factory=PriorityConfig)
    merge_share: float = 0.05
    merge_least: int = 4_096
    kept_degree: int = 256


class BrokenEngine(Exception):
    """A batch failed half way: what is there is neither as before it nor as after."""


class IncrementalEngine:
    """See the module. One owner at a time: calls must not overlap.

    Time is given with each call, in seconds of a clock that does not go back. Once a batch failed
    half way, every call raises ``BrokenEngine``.
    """

    def __init__(
        self,
        model: HGT,
        encoder: FeatureEncoder,
        ids: Mapping[str, Sequence[str]],
        inputs: Mapping[str, NodeInputs],
        pairs: Mapping[MessageType, torch.Tensor],
        config: EngineConfig,
        now: int,
    ) -> None:
        if next(model.parameters()).device.type != "cpu":
            raise ValueError("the model is on another device, expected the CPU: model.to('cpu')")
        self.model, self.encoder, self.config = model.eval(), encoder, config
        self.schema, self.ages = encoder.schema, model.ages(now)
        adjacency = pair_adjacency({name: len(own) for name, own in ids.items()}, pairs)
        hidden, layers = model.config.hidden, model.config.layers
        self.caches = {
            name: NodeCache(name, own, inputs[name], hidden=hidden, layers=layers,
                            dim=EMBEDDING_DIM)
            for name, own in ids.items()
        }  # fmt: skip
        for name, cache in self.caches.items():
            for message, relation in adjacency.relations.items():
                if message.target == name:
                    cache.degree.values[:] += relation.by_target.degree(len(cache)).numpy()
        self._fill(full_pass(model, inputs, adjacency))
        self.adjacency = GrowingAdjacency(
            self.schema, adjacency, merge_share=config.merge_share, merge_least=config.merge_least
        )
        least = config.kept_degree if layers > 1 else sys.maxsize
        self.hubs = Hubs(model, self.caches, least=least)
        self._fingerprint = snapshot.fingerprint(model, encoder)
        self._broken = False

    @classmethod
    def start(
        cls,
        model: HGT,
        encoder: FeatureEncoder,
        graph: Graph,
        *,
        now: int | None = None,
        config: EngineConfig | None = None,
    ) -> Self:
        """From a graph, by one full pass.

        Args:
            now: See ``ml.hgt.model.embed``.

        Raises:
            SchemaChanged: if the graph has another schema than the model.
        """
        try:
            check_schema(encoder.schema, graph.schema)
        except ValueError as error:
            raise SchemaChanged(str(error)) from error
        inputs = graph_inputs(encoder, graph)
        now = graph.latest() if now is None else now
        pairs = pair_tensors(graph, ages=model.ages(now))
        config = config or EngineConfig()
        return cls(model, encoder, graph.node_ids, inputs, pairs, config, now)

    @classmethod
    def restore(
        cls,
        model: HGT,
        encoder: FeatureEncoder,
        state: bytes,
        *,
        now: int,
        config: EngineConfig | None = None,
    ) -> Self:
        """From what ``checkpoint`` gave, by one full pass; what was stale then is stale again.

        Args:
            now: As the engine was started with.

        Raises:
            SchemaChanged: if it is of another schema or model.
            ValueError: if it is no checkpoint.
        """
        stored = snapshot.read(state, encoder.schema, model=snapshot.fingerprint(model, encoder))
        pairs = {message: torch.from_numpy(own).long() for message, own in stored.pairs.items()}
        config = config or EngineConfig()
        engine = cls(model, encoder, stored.ids, stored.inputs, pairs, config, now)
        for name, marks in stored.marks.items():
            for part, values in marks.items():
                getattr(engine.caches[name], part).values[:] = values
        return engine

    def checkpoint(self) -> bytes:
        """Nodes with their features, edges, and who is stale; no states, which a pass gives."""
        self._check_whole()
        return snapshot.write(self.schema, self.caches, self.adjacency, model=self._fingerprint)

    # Taking events

    def apply(
        self,
        events: pl.DataFrame,
        *,
        now: float,
        features: Mapping[str, pl.DataFrame] | None = None,
    ) -> ApplyResult:
        """Take events and features; rows that they reach are stale then.

        Unknown ids become new nodes, at once with the features given here or else with none.

        Args:
            events: With the columns actor, target, target_type and type of the envelope, and
                timestamp where ages of edges play a part.
            features: By node type, rows of nodes that are new or have other features than before:
                the id column and every feature of the schema.

        Raises:
            SchemaChanged: on features of another schema. Nothing has happened then.
            ValueError: if events have no such columns. Nothing has happened then.
        """
        self._check_whole()
        links, ignored = links_of(self.schema, events)
        given = dict(features or {})
        check_features(self.schema, given)
        intake = Intake(self.model, self.encoder, self.caches, self.adjacency, self.ages)
        new_ids = intake.unknown(links, given)
        encoded = intake.encode(new_ids, given)
        self._broken = True  # until all of it is in
        changed = intake.admit(new_ids, encoded)
        new_edges = intake.join(links, new_ids)
        recomputation = Recomputation(self.model, self.caches, self.adjacency)
        frontier = Frontier(recomputation, self.hubs, new_edges)
        stale = frontier.advance(changed, now=now)
        if self.adjacency.merge():
            self.hubs.clear()
        self._broken = False
        return ApplyResult(
            events=len(events) - ignored, ignored=ignored, new_edges=new_edges.pairs,
            new_nodes={name: len(ids) for name, ids in new_ids.items() if ids},
            edges=recomputation.edges, followed=frontier.followed, stale=stale,
        )  # fmt: skip

    # Refreshing

    def drain(self, budget_edges: int, *, now: float) -> RefreshResult:
        """Refresh stale rows, the most urgent first, until the budget is spent.

        One row is refreshed even if it has more edges than the budget.
        """
        self._check_whole()
        names = list(self.caches)
        rows = [self.caches[name].stale_rows() for name in names]
        stale = Stale.join(
            [self.caches[name].stale(own) for name, own in zip(names, rows, strict=True)]
        )
        chosen = select(stale, budget_edges, self.config.priority, now=now)
        owner = np.repeat(np.arange(len(names)), [len(own) for own in rows])[chosen]
        row = np.concatenate(rows)[chosen]
        return self._refresh({name: row[owner == i] for i, name in enumerate(names)}, now=now)

    def refresh(self, node_type: str, ids: Sequence[str], *, now: float) -> RefreshResult:
        """The embeddings of these nodes, refreshed where they are stale; unknown ids are left
        out.

        Raises:
            KeyError: on an unknown node type.
        """
        cache = self._cache(node_type)
        known = [i for i in dict.fromkeys(ids) if i in cache.index]
        rows = np.array([cache.index[node_id] for node_id in known], np.int64)
        stale = rows[cache.since.values[rows] < NEVER]
        edges = self._refresh({node_type: stale}, now=now).edges
        return RefreshResult({node_type: (known, cache.z.values[rows])}, edges)

    def _refresh(self, rows_dict: Mapping[str, Ints], *, now: float) -> RefreshResult:
        recomputation = Recomputation(self.model, self.caches, self.adjacency)
        z_dict = {
            name: recomputation.embedding(name, rows)
            for name, rows in rows_dict.items()
            if len(rows)
        }
        # All are computed before the first is fresh: whoever interrupts this loses none.
        for name, z in z_dict.items():
            self.caches[name].settle(rows_dict[name], z, now=now)
        embeddings = {
            name: (self.caches[name].names(rows_dict[name]), z) for name, z in z_dict.items()
        }
        return RefreshResult(embeddings, recomputation.edges)

    # Looking

    def stale_since(self, node_type: str, node_id: str) -> float | None:
        """Since when a node's embedding is stale; None where it is not.

        Raises:
            KeyError: on an unknown node.
        """
        cache = self._cache(node_type)
        since = float(cache.since.values[cache.index[node_id]])
        return None if since == NEVER else since

    def stale_among(self, node_type: str, ids: Sequence[str]) -> list[str]:
        """Those of these nodes that are stale, in their order; unknown ids are left out.

        Raises:
            KeyError: on an unknown node type.
        """
        cache = self._cache(node_type)
        since = cache.since.values
        return [i for i in ids if i in cache.index and since[cache.index[i]] < NEVER]

    def embeddings(self, node_type: str) -> tuple[list[str], Floats]:
        """Ids and embeddings of all nodes of a type, stale ones as they were. Shape: [n, D]."""
        cache = self._cache(node_type)
        return list(cache.ids), cache.z.values.copy()

    def backlog(self, *, now: float) -> Backlog:
        """What is stale."""
        self._check_whole()
        rows = {name: cache.stale_rows() for name, cache in self.caches.items()}
        stale = Stale.join([self.caches[name].stale(own) for name, own in rows.items()])
        waited = np.maximum(now - stale.since, 0)
        p50, p99 = np.percentile(waited, [50, 99]) if len(waited) else (0.0, 0.0)
        count = {name: len(own) for name, own in rows.items()}
        since = float(stale.since.min()) if len(stale) else None
        return Backlog(count, int(stale.cost.sum()), float(p50), float(p99), since)

    def audit(self, *, rows: int, seed: int) -> Audit:
        """Compare a random sample of nodes with a full pass over features and edges."""
        self._check_whole()
        inputs = {name: cache.inputs() for name, cache in self.caches.items()}
        pairs = {
            message: torch.from_numpy(relation.pairs()).long()
            for message, relation in self.adjacency.relations.items()
        }
        num_nodes = {name: len(cache) for name, cache in self.caches.items()}
        whole = full_pass(self.model, inputs, pair_adjacency(num_nodes, pairs))
        total = sum(num_nodes.values())
        drawn = np.random.default_rng(seed).choice(total, size=min(rows, total), replace=False)
        return compare(self.caches, whole, drawn)

    def _check_whole(self) -> None:
        if self._broken:
            raise BrokenEngine(
                "a batch failed half way, and some of it is in: restore a checkpoint, or start "
                "anew from the graph"
            )

    def _cache(self, node_type: str) -> NodeCache:
        self._check_whole()
        if node_type not in self.caches:
            raise KeyError(f"no node type {node_type!r}, expected one of {list(self.caches)}")
        return self.caches[node_type]

    def _fill(self, whole: FullPass) -> None:
        for name, cache in self.caches.items():
            cache.identity.values[:] = whole.identity[name].numpy()
            cache.local.values[:] = whole.local[name].numpy()
            cache.z.values[:] = whole.z[name].numpy()
            for column, h in zip(cache.hidden, whole.hidden, strict=True):
                column.values[:] = h[name].numpy()
