"""What an engine keeps of itself: NumPy arrays alone, nothing in it is executed when it is read.

Only what can't be computed again is kept: nodes with their encoded features, edges, and who is
stale. States come from one pass over the graph when it is read.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch

from ml.contracts.schema import GraphSchema
from ml.graph.growing import GrowingAdjacency
from ml.graph.message_types import UNKNOWN_AGE, MessageType
from ml.hgt.encoders import FeatureEncoder, NodeInputs, id_codes
from ml.hgt.model import HGT
from ml.incremental.arrivals import SchemaChanged
from ml.incremental.node_cache import NodeCache

FORMAT = 1
AGE_MARK = "@"
KEPT = ("since", "changed", "change", "computed")


@dataclass(frozen=True)
class Snapshot:
    """A graph with encoded features, and who is stale.

    Args:
        ids: By node type.
        inputs: By node type.
        pairs: By the message type from their sources to their targets. Shapes: [2, E].
        marks: The arrays named in ``KEPT``, by node type.
    """

    ids: Mapping[str, list[str]]
    inputs: Mapping[str, NodeInputs]
    pairs: Mapping[MessageType, npt.NDArray[np.int32]]
    marks: Mapping[str, Mapping[str, npt.NDArray[Any]]]


def fingerprint(model: HGT, encoder: FeatureEncoder) -> str:
    """SHA-256 of weights and encoders: cached embeddings are of one model."""
    digest = hashlib.sha256(json.dumps(encoder.to_dict(), sort_keys=True).encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def write(
    schema: GraphSchema,
    caches: Mapping[str, NodeCache],
    adjacency: GrowingAdjacency,
    *,
    model: str,
) -> bytes:
    """The bytes of a snapshot.

    Args:
        model: Fingerprint of the model.
    """
    arrays: dict[str, Any] = {"format": FORMAT, "schema": schema.hash, "model": model}
    for name, cache in caches.items():
        encoded = [node_id.encode() for node_id in cache.ids]
        arrays[f"{name}.ids"] = np.frombuffer(b"".join(encoded), np.uint8)
        arrays[f"{name}.lengths"] = np.array([len(one) for one in encoded], np.int32)
        for part in ("numeric", "categorical", "slot", *KEPT):
            arrays[f"{name}.{part}"] = getattr(cache, part).values
    keys = [edge.key for edge in schema.edges]
    for message, relation in adjacency.relations.items():
        arrays[_array_name(keys.index(message.edge_key), message.age)] = relation.pairs()
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def read(state: bytes, schema: GraphSchema, *, model: str) -> Snapshot:
    """Read what ``write`` gave.

    Raises:
        SchemaChanged: if it is of another schema or another model.
        ValueError: if it has another format, or is no snapshot.
    """
    with _opened(state) as arrays:
        if "format" not in arrays or int(arrays["format"]) != FORMAT:
            raise ValueError(f"no snapshot of format {FORMAT}: start anew from the graph")
        for what, expected in (("schema", schema.hash), ("model", model)):
            if str(arrays[what]) != expected:
                raise SchemaChanged(
                    f"the snapshot has {what} {str(arrays[what])[:12]}, the model in use "
                    f"{expected[:12]}: refresh from a dataset with the model in use"
                )
        ids = {n.name: _ids(arrays[f"{n.name}.ids"], arrays[f"{n.name}.lengths"])
               for n in schema.nodes}  # fmt: skip
        return Snapshot(
            ids,
            {name: _inputs(arrays, name, own) for name, own in ids.items()},
            _pairs(arrays, schema),
            {name: {part: arrays[f"{name}.{part}"] for part in KEPT} for name in ids},
        )


def _pairs(arrays: Any, schema: GraphSchema) -> dict[MessageType, npt.NDArray[np.int32]]:
    pairs = {}
    for i, edge in enumerate(schema.edges):
        plain, prefix = MessageType(*edge.key), _array_name(i, UNKNOWN_AGE)
        pairs[plain] = arrays[prefix]
        for name in arrays.files:
            if name.startswith(prefix + AGE_MARK):
                pairs[plain.of_age(int(name.removeprefix(prefix + AGE_MARK)))] = arrays[name]
    return pairs


def _array_name(edge_type: int, age: int) -> str:
    """Name of the array of pairs of an age class of the schema's edge types."""
    return f"{edge_type}.pairs" + ("" if age == UNKNOWN_AGE else f"{AGE_MARK}{age}")


def _opened(state: bytes) -> Any:
    try:
        return np.load(io.BytesIO(state), allow_pickle=False)
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise ValueError(
            f"{len(state)} bytes are no snapshot ({error}): start anew from the graph"
        ) from error


def _ids(text: npt.NDArray[np.uint8], lengths: npt.NDArray[np.int32]) -> list[str]:
    whole, ends = text.tobytes(), np.cumsum(lengths).tolist()
    starts = [0, *ends[:-1]]
    return [whole[start:end].decode() for start, end in zip(starts, ends, strict=False)]


def _inputs(arrays: Any, name: str, ids: list[str]) -> NodeInputs:
    return NodeInputs(
        torch.from_numpy(arrays[f"{name}.numeric"]),
        torch.from_numpy(arrays[f"{name}.categorical"]).long(),
        torch.from_numpy(id_codes(name, ids)),
        torch.from_numpy(arrays[f"{name}.slot"]).long(),
    )
