"""New nodes, changed features and new edges, put into what is cached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from ml.data.schema import EdgeKey
from ml.graph.growing import GrowingAdjacency
from ml.hgt.arrivals import Link, features_of
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.frontier import Changed, replaced
from ml.hgt.model import HGT
from ml.hgt.nodecache import NodeCache

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Intake:
    """Takes one batch: ``unknown``, then ``admit``, then ``join``."""

    model: HGT
    encoder: FeatureEncoder
    caches: Mapping[str, NodeCache]
    adjacency: GrowingAdjacency

    def unknown(
        self, links: Sequence[Link], features: Mapping[str, pl.DataFrame]
    ) -> dict[str, list[str]]:
        """Ids that are no nodes yet, in the order in which they come."""
        found: dict[str, dict[str, None]] = {name: {} for name in self.caches}
        for link in links:
            found[link.edge.source][link.source] = None
            found[link.edge.target][link.target] = None
        for name, frame in features.items():
            ids = frame[self.encoder.schema.node(name).id_column].cast(pl.String).drop_nulls()
            found[name].update(dict.fromkeys(ids.to_list()))
        return {
            name: [node_id for node_id in ids if node_id not in self.caches[name].index]
            for name, ids in found.items()
        }

    def admit(
        self, new_ids: Mapping[str, list[str]], features: Mapping[str, pl.DataFrame]
    ) -> Changed:
        """Make new nodes, and give nodes their features.

        Returns:
            Nodes that were there whose first state is another one.
        """
        changed: Changed = {}
        for name, cache in self.caches.items():
            given, ids = features.get(name), list(new_ids[name])
            if given is not None:
                column = (
                    given[self.encoder.schema.node(name).id_column].cast(pl.String).drop_nulls()
                )
                known = [i for i in column.unique(maintain_order=True) if i in cache.index]
                ids += known
            if not ids:
                continue
            inputs = self.encoder.transform(
                name, features_of(self.encoder.schema, name, ids, given), ids
            )
            cache.add(new_ids[name])
            rows = np.array([cache.index[node_id] for node_id in ids], np.int64)
            is_new = rows >= len(cache) - len(new_ids[name])
            other = np.flatnonzero(cache.differs(rows, inputs) | is_new)
            rows, inputs = rows[other], inputs.take(torch.from_numpy(other))
            cache.set_inputs(rows, inputs)
            with torch.no_grad():
                identity, h0 = self.model.inputs({name: inputs})
            cache.identity.values[rows] = identity[name].numpy()
            found, weight = replaced(cache.hidden[0].values, rows, h0[name].numpy())
            old = found < len(cache) - len(new_ids[name])
            changed[name] = found[old], weight[old]
        self.adjacency.grow({name: len(cache) for name, cache in self.caches.items()})
        return changed

    def join(
        self, links: Sequence[Link], new_ids: Mapping[str, list[str]]
    ) -> tuple[dict[str, Floats], int]:
        """Add the edges.

        Returns:
            Share of each node's in-edges that are new, and how many pairs are.
        """
        ends: dict[EdgeKey, tuple[list[int], list[int]]] = {}
        for link in links:
            sources, targets = ends.setdefault(link.edge.key, ([], []))
            sources.append(self.caches[link.edge.source].index[link.source])
            targets.append(self.caches[link.edge.target].index[link.target])
        arrived = {name: np.zeros(len(cache), np.float32) for name, cache in self.caches.items()}
        count = 0
        for key, both in ends.items():
            source, target = (np.array(end, np.int64) for end in both)
            new = self.adjacency.relations[key].add(source, target)
            count += int(new.sum())
            for name, end in ((key[0], source), (key[2], target)):
                np.add.at(arrived[name], end[new], 1)
        for name, cache in self.caches.items():
            rows = np.flatnonzero(arrived[name])
            cache.degree.values[rows] += arrived[name][rows].astype(np.int64)
            arrived[name][rows] /= cache.degree.values[rows]
            arrived[name][len(cache) - len(new_ids[name]) :] = 1
        return arrived, count
