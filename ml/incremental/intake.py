"""New nodes, changed features and new edges, put into what is cached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from ml.graph.adjacency import SparseRows
from ml.graph.ages import Ages
from ml.graph.growing import GrowingAdjacency
from ml.graph.message_types import MessageType
from ml.hgt.encoders import FeatureEncoder, NodeInputs
from ml.hgt.model import HGT
from ml.incremental.arrivals import Link, features_of
from ml.incremental.frontier import ChangedRows, replaced
from ml.incremental.node_cache import NodeCache

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
EncodedNodes = dict[str, tuple[list[str], NodeInputs]]
"""Ids of nodes and their encoded features, the new nodes first, by node type."""


@dataclass(frozen=True)
class NewEdges:
    """What was not there before a batch.

    Args:
        share: Share of each node's in-edges that are new, 1 for a new node. Shapes: [n].
        arriving: Targets and sources of the new edges by message type, both ways. Shapes: [E].
        pairs: How many edges are new.
    """

    share: Mapping[str, Floats]
    arriving: Mapping[MessageType, tuple[Ints, Ints]]
    pairs: int

    def rows(self, node_type: str, nodes: Ints) -> dict[MessageType, SparseRows]:
        """New in-edges of some nodes, ascending: row r is ``nodes[r]``."""
        rows = {}
        for message, (targets, sources) in self.arriving.items():
            if message.target == node_type and len(nodes):
                index = np.minimum(np.searchsorted(nodes, targets), len(nodes) - 1)
                own = nodes[index] == targets
                rows[message] = SparseRows.group(
                    torch.from_numpy(index[own]), torch.from_numpy(sources[own]), len(nodes)
                )
        return rows


@dataclass(frozen=True)
class Intake:
    """Takes one batch: ``unknown`` and ``encode``, which may fail, then ``admit`` and ``join``."""

    model: HGT
    encoder: FeatureEncoder
    caches: Mapping[str, NodeCache]
    adjacency: GrowingAdjacency
    ages: Ages | None

    def unknown(
        self, links: Sequence[Link], features: Mapping[str, pl.DataFrame]
    ) -> dict[str, list[str]]:
        """Ids that are no nodes yet, in the order in which they come."""
        ids_dict: dict[str, dict[str, None]] = {name: {} for name in self.caches}
        for link in links:
            ids_dict[link.edge.source][link.source] = None
            ids_dict[link.edge.target][link.target] = None
        for name in features:
            ids_dict[name].update(dict.fromkeys(self._ids(name, features[name])))
        return {
            name: [node_id for node_id in ids if node_id not in self.caches[name].index]
            for name, ids in ids_dict.items()
        }

    def encode(
        self, new_ids: Mapping[str, list[str]], features: Mapping[str, pl.DataFrame]
    ) -> EncodedNodes:
        """Features of new nodes, and of those that were there and have features given."""
        encoded: EncodedNodes = {}
        for name, cache in self.caches.items():
            given, ids = features.get(name), list(new_ids[name])
            if given is not None:
                ids += [i for i in self._ids(name, given) if i in cache.index]
            if ids:
                frame = features_of(self.encoder.schema, name, ids, given)
                encoded[name] = ids, self.encoder.transform(name, frame, ids)
        return encoded

    def _ids(self, name: str, frame: pl.DataFrame) -> list[str]:
        column = frame[self.encoder.schema.node(name).id_column].cast(pl.String)
        return column.drop_nulls().unique(maintain_order=True).to_list()

    @torch.no_grad()
    def admit(self, new_ids: Mapping[str, list[str]], encoded: EncodedNodes) -> ChangedRows:
        """Make new nodes, and give nodes their features.

        Returns:
            Nodes that were there whose first state is another one.
        """
        changed: ChangedRows = {}
        for name, (ids, inputs) in encoded.items():
            cache = self.caches[name]
            first_new = len(cache)
            cache.add(new_ids[name])
            rows = np.array([cache.index[node_id] for node_id in ids], np.int64)
            other = np.flatnonzero(cache.differs(rows, inputs) | (rows >= first_new))
            rows, inputs = rows[other], inputs.take(torch.from_numpy(other))
            cache.set_inputs(rows, inputs)
            identity, h0 = self.model.input_states({name: inputs})
            cache.identity.values[rows] = identity[name].numpy()
            other_rows, weight = replaced(cache.hidden[0].values, rows, h0[name].numpy())
            changed[name] = other_rows[other_rows < first_new], weight[other_rows < first_new]
        self.adjacency.grow({name: len(cache) for name, cache in self.caches.items()})
        return changed

    def join(self, links: Sequence[Link], new_ids: Mapping[str, list[str]]) -> NewEdges:
        """Add the edges; of events of a new pair the first to come tells its age."""
        ends: dict[MessageType, tuple[list[int], list[int]]] = {}
        for link, message in zip(links, self._message_types(links), strict=True):
            sources, targets = ends.setdefault(message, ([], []))
            sources.append(self.caches[link.edge.source].index[link.source])
            targets.append(self.caches[link.edge.target].index[link.target])
        share = {name: np.zeros(len(cache), np.float32) for name, cache in self.caches.items()}
        arriving, pairs = {}, 0
        for message, both in ends.items():
            source, target = (np.array(end, np.int64) for end in both)
            new = self.adjacency.add(message, source, target)
            source, target = source[new], target[new]
            arriving[message] = target, source
            arriving[message.reversed] = source, target
            pairs += len(source)
        for message, (target, _) in arriving.items():
            np.add.at(share[message.target], target, 1)
            np.add.at(self.caches[message.target].degree.values, target, 1)
        for name, cache in self.caches.items():
            rows = np.flatnonzero(share[name])
            share[name][rows] /= cache.degree.values[rows]
            share[name][len(cache) - len(new_ids[name]) :] = 1
        return NewEdges(share, arriving, pairs)

    def _message_types(self, links: Sequence[Link]) -> list[MessageType]:
        """Along the edge of each event, in its age class if the model knows ages."""
        plain = [MessageType(*link.edge.key) for link in links]
        if self.ages is None:
            return plain
        first: dict[tuple[MessageType, str, str], MessageType] = {}
        classes = self.ages.classes(np.array([link.time for link in links], np.int64)).tolist()
        return [
            first.setdefault((message, link.source, link.target), message.of_age(age))
            for message, link, age in zip(plain, links, classes, strict=True)
        ]
