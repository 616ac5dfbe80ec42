"""What a training run reads: pairs, encoded features and the encoder; in memory or mapped files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ml.graph.graph import Graph
from ml.graph.sampling_kernels import drop_slots
from ml.graph.structure import Structure, mapped
from ml.hgt.encoders import FeatureEncoder, NodeInputs
from ml.hgt.model import graph_inputs

Array = npt.NDArray[Any]
PARTS = ("numeric", "categorical", "code", "slot")


@dataclass(frozen=True)
class NodeTable:
    """Encoded features of one node type, packed.

    Args:
        numeric: float32, shape: [n, 2 * features].
        categorical: Slots. int32, shape: [n, features].
        code: Signs of the codes, a bit each. uint8, shape: [n, CODE_BITS / 8].
        slot: int32, shape: [n, 1].
    """

    numeric: Array
    categorical: Array
    code: Array
    slot: Array

    @classmethod
    def of(cls, inputs: NodeInputs) -> "NodeTable":
        return cls(
            inputs.numeric.numpy(),
            inputs.categorical.numpy().astype(np.int32),
            np.packbits(inputs.code.numpy() > 0, axis=1),
            inputs.slot.numpy().astype(np.int32)[:, None],
        )

    def __len__(self) -> int:
        return len(self.code)

    def take(self, nodes: Array, *, unknown: float = 0.0, key: np.uint64) -> NodeInputs:
        """Inputs of some nodes.

        Args:
            unknown: Share of categories and of nodes that are taken for unknown.
            key: Which ones: the same key and node, the same choice.
        """
        categorical = self.categorical[nodes].astype(np.int64)
        slot = self.slot[nodes].astype(np.int64)
        if unknown > 0:
            for salt, slots in enumerate((categorical, slot)):
                drop_slots(0, len(nodes), nodes, unknown, np.uint64(key + np.uint64(salt)), slots)
        code = np.unpackbits(self.code[nodes], axis=1).astype(np.float32) * 2 - 1
        return NodeInputs(
            torch.from_numpy(self.numeric[nodes]),
            torch.from_numpy(categorical),
            torch.from_numpy(code),
            torch.from_numpy(slot[:, 0]),
        )


@dataclass(frozen=True)
class TrainingData:
    """A graph as training reads it."""

    structure: Structure
    tables: Mapping[str, NodeTable]
    encoder: FeatureEncoder

    @classmethod
    def of(cls, graph: Graph, encoder: FeatureEncoder, *, timed: bool = False) -> "TrainingData":
        """From a graph in memory.

        Args:
            timed: Whether the times of first events are kept.

        Raises:
            ValueError: if the graph has another schema than the encoder.
        """
        inputs = graph_inputs(encoder, graph)
        tables = {name: NodeTable.of(node_inputs) for name, node_inputs in inputs.items()}
        return cls(Structure.of(graph, timed=timed), tables, encoder)

    def save(self, folder: Path) -> None:
        """Write files that ``open`` maps into memory."""
        self.structure.save(folder)
        for position, table in enumerate(self.tables.values()):
            for part in PARTS:
                np.save(folder / f"nodes.{position}.{part}.npy", getattr(table, part))
        (folder / "encoder.json").write_text(json.dumps(self.encoder.to_dict()))

    @classmethod
    def open(cls, folder: Path) -> "TrainingData":
        """Map what ``save`` wrote. Raises: as ``Structure.open``."""
        structure = Structure.open(folder)
        tables = {
            name: NodeTable(*(mapped(folder / f"nodes.{position}.{part}.npy") for part in PARTS))
            for position, name in enumerate(structure.num_nodes)
        }
        encoder = FeatureEncoder.from_dict(json.loads((folder / "encoder.json").read_text()))
        return cls(structure, tables, encoder)
