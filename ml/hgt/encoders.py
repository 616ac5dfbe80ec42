"""Vocabularies and scalers: what a feature means, fixed at training and kept with the model.

A category that was not there at training and a value that is missing have slots of their own, and
a node that was not there gets a code from its id, so that nothing needs a new vocabulary to serve.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from ml.contracts.schema import GraphSchema
from ml.graph.graph import Graph

CODE_BITS = 64
MAX_CATEGORIES = 10_000
MAX_IDS = 100_000
MIN_PAIRS = 8
"""Edges a node on average, below which a type's nodes get no learned vectors: from few edges one
learns who was there, not what they are like."""
UNKNOWN_SLOT, MISSING_SLOT, FIRST_SLOT = 0, 1, 2


@dataclass(frozen=True)
class Scaler:
    """Standardises one numeric feature: (x - mean) / std."""

    mean: float
    std: float

    @classmethod
    def fit(cls, values: pl.Series) -> "Scaler":
        """From the finite values of a column."""
        finite = _finite(values).drop_nulls()
        if not len(finite):
            return cls(0.0, 1.0)
        array = finite.to_numpy()
        std = float(array.std())
        return cls(float(array.mean()), std if std > 1e-12 else 1.0)

    def transform(self, values: pl.Series) -> npt.NDArray[np.float32]:
        """Scaled value and missing indicator; NaN and infinity are missing. Shape: [n, 2]."""
        column = _finite(values)
        missing = column.is_null().to_numpy().astype(np.float32)
        scaled = ((column - self.mean) / self.std).clip(-10, 10).fill_null(0.0).to_numpy()
        return np.stack([scaled.astype(np.float32), missing], axis=1)


@dataclass(frozen=True)
class Vocabulary:
    """Slots of one categorical feature: unknown, missing, then the known categories."""

    categories: tuple[str, ...]

    @classmethod
    def fit(cls, values: pl.Series) -> "Vocabulary":
        """The most frequent categories, at most ``MAX_CATEGORIES``, in alphabetical order."""
        counts = values.drop_nulls().value_counts(sort=False)
        top = counts.sort(["count", values.name], descending=[True, False]).head(MAX_CATEGORIES)
        return cls(tuple(sorted(top[values.name].to_list())))

    @property
    def size(self) -> int:
        return FIRST_SLOT + len(self.categories)

    def transform(self, values: pl.Series) -> npt.NDArray[np.int64]:
        """Slot of each value. Shape: [n]."""
        slots = pl.int_range(FIRST_SLOT, self.size, eager=True)
        known = pl.Series(self.categories, dtype=pl.String)
        codes = values.cast(pl.String).replace_strict(
            known, slots, default=UNKNOWN_SLOT, return_dtype=pl.Int64
        )
        codes = codes.zip_with(values.is_not_null(), pl.Series([MISSING_SLOT], dtype=pl.Int64))
        return codes.to_numpy().copy()


@dataclass(frozen=True)
class NodeInputs:
    """Encoded features of the nodes of one type.

    Shapes: numeric [n, 2 * features], categorical [n, features], code [n, CODE_BITS], slot [n].
    """

    numeric: Tensor
    categorical: Tensor
    code: Tensor
    slot: Tensor

    def __len__(self) -> int:
        return self.code.size(0)

    def to(self, device: str | torch.device) -> "NodeInputs":
        return NodeInputs(
            self.numeric.to(device),
            self.categorical.to(device),
            self.code.to(device),
            self.slot.to(device),
        )

    def take(self, rows: Tensor) -> "NodeInputs":
        """The nodes at ``rows`` (indices)."""
        return NodeInputs(
            self.numeric[rows], self.categorical[rows], self.code[rows], self.slot[rows]
        )


@dataclass(frozen=True)
class FeatureEncoder:
    """Scalers and vocabularies of every node type of a schema.

    Args:
        ids: Ids of the nodes that have a learned vector of their own, by node type. The others
            share one (slot 0), as do all of a type with more than ``MAX_IDS`` nodes.
    """

    schema: GraphSchema
    scalers: Mapping[str, Mapping[str, Scaler]]
    vocabularies: Mapping[str, Mapping[str, Vocabulary]]
    ids: Mapping[str, tuple[str, ...]]
    _slots: dict[str, dict[str, int]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def fit(
        cls,
        schema: GraphSchema,
        features: Mapping[str, pl.DataFrame],
        node_ids: Mapping[str, Sequence[str]],
    ) -> "FeatureEncoder":
        """From one frame of each node type and the ids of the nodes that get learned vectors."""
        return cls(
            schema,
            {
                node.name: {
                    name: Scaler.fit(features[node.name][name]) for name in node.names("numeric")
                }
                for node in schema.nodes
            },
            {
                node.name: {
                    name: Vocabulary.fit(features[node.name][name])
                    for name in node.names("categorical")
                }
                for node in schema.nodes
            },
            {
                node.name: tuple(node_ids[node.name]) if len(node_ids[node.name]) <= MAX_IDS else ()
                for node in schema.nodes
            },
        )

    @classmethod
    def of_graph(cls, graph: Graph) -> "FeatureEncoder":
        """From a graph; a type has learned vectors if its nodes have enough edges.

        A node that only the future knows gets none.
        """
        pairs = dict.fromkeys(graph.node_ids, 0)
        for source, relation, target in graph.edges:
            number = len(graph.pairs((source, relation, target)))
            for name in (source, target):
                pairs[name] += number
        learned = {}
        for name, ids in graph.node_ids.items():
            known = tuple(compress(ids, graph.known_nodes(name)))
            learned[name] = known if pairs[name] >= MIN_PAIRS * len(known) else ()
        return cls.fit(graph.schema, graph.features, learned)

    def transform(self, node_type: str, frame: pl.DataFrame, ids: Sequence[str]) -> NodeInputs:
        """Encode the nodes of one type."""
        numeric = [s.transform(frame[name]) for name, s in self.scalers[node_type].items()]
        categorical = [v.transform(frame[name]) for name, v in self.vocabularies[node_type].items()]
        return NodeInputs(
            torch.from_numpy(np.concatenate(numeric, 1) if numeric else _nothing(ids, np.float32)),
            torch.from_numpy(
                np.stack(categorical, 1) if categorical else _nothing(ids, np.int64)
            ),
            torch.from_numpy(id_codes(node_type, ids)),
            self._slots_of(node_type, ids),
        )  # fmt: skip

    def slots(self, node_type: str) -> int:
        """Learned vectors of a node type: one for all that are unknown, then one a known id."""
        return 1 + len(self.ids[node_type])

    def _slots_of(self, node_type: str, ids: Sequence[str]) -> Tensor:
        if node_type not in self._slots:
            self._slots[node_type] = {name: i for i, name in enumerate(self.ids[node_type], 1)}
        known = self._slots[node_type]
        return torch.tensor([known.get(name, UNKNOWN_SLOT) for name in ids], dtype=torch.long)

    def numeric_width(self, node_type: str) -> int:
        return 2 * len(self.scalers[node_type])

    def cardinalities(self, node_type: str) -> list[int]:
        """Slots of each categorical feature."""
        return [vocabulary.size for vocabulary in self.vocabularies[node_type].values()]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready; ``from_dict`` reads it back."""
        return {
            "schema": self.schema.to_dict(),
            "scalers": {
                node: {name: [s.mean, s.std] for name, s in scalers.items()}
                for node, scalers in self.scalers.items()
            },
            "vocabularies": {
                node: {name: list(v.categories) for name, v in vocabularies.items()}
                for node, vocabularies in self.vocabularies.items()
            },
            "ids": {node: list(ids) for node, ids in self.ids.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "FeatureEncoder":
        """Raises: KeyError or ValueError on data that ``to_dict`` did not make."""
        return cls(
            GraphSchema.from_dict(data["schema"]),
            {
                node: {name: Scaler(*values) for name, values in scalers.items()}
                for node, scalers in data["scalers"].items()
            },
            {
                node: {name: Vocabulary(tuple(values)) for name, values in vocabularies.items()}
                for node, vocabularies in data["vocabularies"].items()
            },
            {node: tuple(ids) for node, ids in data["ids"].items()},
        )


def id_codes(node_type: str, ids: Sequence[str]) -> npt.NDArray[np.float32]:
    """A fixed code of ±1 for each node, from a hash of its type and id.

    It tells nodes with equal features apart, so that attention can learn who shares neighbours,
    and needs no table: a node that comes later has one too. Shape: [n, CODE_BITS].
    """
    digests = b"".join(
        hashlib.blake2b(f"{node_type}\0{node_id}".encode(), digest_size=CODE_BITS // 8).digest()
        for node_id in ids
    )
    bits = np.unpackbits(np.frombuffer(digests, np.uint8)).reshape(len(ids), CODE_BITS)
    return bits.astype(np.float32) * 2 - 1


def _finite(values: pl.Series) -> pl.Series:
    column = values.cast(pl.Float64)
    return column.zip_with(column.is_finite().fill_null(False), pl.Series([None], dtype=pl.Float64))


def _nothing(ids: Sequence[str], kind: Any) -> npt.NDArray[Any]:
    return np.zeros((len(ids), 0), kind)
