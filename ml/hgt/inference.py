"""Embeddings of a graph that is larger than memory: layer by layer, some rows at a time.

States lie in files; a part of the rows reads those of its neighbours. The result is that of
``ml.hgt.model.embed``, as every node gets all of its edges.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ml.graph.sampler import ALL, Sample, Sampler, View
from ml.hgt.model import EMBEDDING_DIM, HGT
from ml.hgt.training.minibatch import on_device
from ml.hgt.training.training_data import TrainingData

Floats = npt.NDArray[np.float32]
Table = dict[str, Floats]


@torch.no_grad()
def embed_in_parts(
    model: HGT, data: TrainingData, folder: Path, *, rows: int = 50_000
) -> dict[str, Floats]:
    """Embedding of every node from all of its edges.

    Args:
        data: With times if the model knows ages of edges.
        folder: Where states and embeddings are written: hidden width x 4 bytes a node for each
            layer and two more tables.
        rows: Nodes at a time; memory grows with them and their neighbours.

    Returns:
        Arrays mapped to files in ``folder``, by node type. Shapes: [n, EMBEDDING_DIM].
    """
    model.eval()
    parts = _Parts(model, data, folder, rows)
    identity, state = parts.table("identity"), parts.table("state0")
    for name, nodes in parts.nodes():
        inputs = data.tables[name].take(nodes, key=np.uint64(0)).to(parts.device)
        identities, states = model.input_states({name: inputs})
        identity[name][nodes] = identities[name].cpu().numpy()
        state[name][nodes] = states[name].cpu().numpy()
    near = parts.around("near", identity, lambda h, s: model.neighbourhood(h, s.hops[0]))
    tables = [near, state]
    for number, layer in enumerate(model.layers, 1):
        tables.append(parts.around(f"state{number}", tables[-1], partial(_states, layer)))
    out = parts.table("embedding", EMBEDDING_DIM)
    for name, nodes in parts.nodes():
        joined = [torch.from_numpy(table[name][nodes]).to(parts.device) for table in tables]
        out[name][nodes] = model.finish(name, model.output(joined)).cpu().numpy()
    return out


def _states(layer: nn.Module, h_dict: dict[str, Tensor], sample: Sample) -> dict[str, Tensor]:
    states: dict[str, Tensor] = layer(h_dict, sample.hops[0].adjacency)
    return states


class _Parts:
    def __init__(self, model: HGT, data: TrainingData, folder: Path, rows: int) -> None:
        self.model, self.structure, self.folder, self.rows = model, data.structure, folder, rows
        self.device = str(next(model.parameters()).device)
        self.sampler = Sampler(data.structure, [ALL], edge_ages=model.config.edge_ages)

    def nodes(self) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
        for name, size in self.structure.num_nodes.items():
            for low in range(0, size, self.rows):
                yield name, np.arange(low, min(low + self.rows, size))

    def table(self, title: str, width: int | None = None) -> Table:
        """An array on disk for each node type."""
        table: Table = {}
        for position, (name, size) in enumerate(self.structure.num_nodes.items()):
            shape = (size, width or self.model.config.hidden)
            path = self.folder / f"{title}.{position}.npy"
            table[name] = (
                np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
                if size
                else np.zeros(shape, np.float32)
            )
        return table

    def around(
        self,
        title: str,
        below: Mapping[str, Floats],
        compute: Callable[[dict[str, Tensor], Sample], Any],
    ) -> Table:
        """What is computed for every node from the rows of itself and its neighbours."""
        made = self.table(title)
        for name, nodes in self.nodes():
            sample = self.sampler.sample({name: nodes}, View())
            sample = Sample(sample.nodes, sample.sizes, on_device(sample.hops, self.device))
            h_dict = {
                other: torch.from_numpy(below[other][chosen]).to(self.device)
                for other, chosen in sample.nodes.items()
            }
            made[name][nodes] = compute(h_dict, sample)[name][: len(nodes)].cpu().numpy()
        return made
