"""Where a holder of a loop begins: at the graph of the profiles, or at what one before it left."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.store import ObjectDamaged, store
from controlcenter.platform.log.positions import BEGINNING, LogPosition
from ml.bundle import ModelBundle
from ml.graph.graph import Edges, Graph
from ml.incremental.engine import IncrementalEngine
from workers.files import fetch, load_model, load_whole_graph
from workers.log_edges import load_position
from workers.runtime.execution import Execution
from workers.runtime.retries import STORE_PATIENCE

FORMAT = 1


@dataclass(frozen=True)
class EngineStart:
    """A loop to go on with.

    Args:
        position: The position in the log up to which the engine knows it.
        waiting: Users whose own events are not in their scores yet, and since when (seconds).
    """

    model: ModelBundle
    engine: IncrementalEngine
    position: LogPosition
    waiting: Mapping[str, float]


def from_graph(execution: Execution, version: ModelVersion, files: list[Artifact]) -> EngineStart:
    """One full pass over the graph that the profiles are of; the log follows from there."""
    model = model_of(execution, version)
    folder = fetch(execution, files, "graph")
    graph = load_whole_graph(folder)
    engine = IncrementalEngine.start(model.model, model.encoder, graph, now=model.now)
    return EngineStart(model, engine, load_position(folder) or BEGINNING, {})


def from_checkpoint(execution: Execution, version: ModelVersion, saved: Artifact) -> EngineStart:
    """Go on from a checkpoint; the log is replayed from the position it names.

    Raises:
        ObjectMissing, ObjectDamaged: if it is not there, or not what was written.
    """
    path = execution.folder / "saved"
    store(patience=STORE_PATIENCE).fetch(saved.key, path, sha256=saved.sha256)
    head, _, state = path.read_bytes().partition(b"\n")
    path.unlink()
    header = json.loads(head)
    if header["format"] != FORMAT:
        raise ObjectDamaged(f"{saved.key}: format {header['format']}, expected {FORMAT}")
    model = model_of(execution, version)
    engine = IncrementalEngine.restore(model.model, model.encoder, state, now=model.now)
    position = LogPosition(header["snapshot"], datetime.fromisoformat(header["at"]))
    return EngineStart(model, engine, position, header["waiting"])


def checkpoint_bytes(
    engine: IncrementalEngine, position: LogPosition, waiting: Mapping[str, float]
) -> bytes:
    """A checkpoint: a line of JSON, then what the engine says."""
    assert position.at is not None
    header = {
        "format": FORMAT,
        "snapshot": position.snapshot,
        "at": position.at.isoformat(),
        "waiting": dict(waiting),
    }
    return json.dumps(header).encode() + b"\n" + engine.checkpoint()


def model_of(execution: Execution, version: ModelVersion) -> ModelBundle:
    model = load_model(fetch(execution, list(version.files.all()), "model"), "cpu")
    warm_up(model)
    return model


def warm_up(model: ModelBundle) -> None:
    """Take an event of each kind in a graph of a few nodes: what is compiled at the first call is
    compiled before anybody waits for it."""
    schema = model.schema
    if not schema.edges:
        return
    nothing = np.zeros(0, np.int64)
    graph = Graph(
        schema=schema,
        node_ids={node.name: ("a", "b") for node in schema.nodes},
        features={
            node.name: pl.DataFrame(
                {feature.name: [None, None] for feature in node.features},
                schema={
                    feature.name: pl.Float64 if feature.kind == "numeric" else pl.String
                    for feature in node.features
                },
            )
            for node in schema.nodes
        },
        edges={edge.key: Edges(nothing, nothing) for edge in schema.edges},
    )
    engine = IncrementalEngine.start(model.model, model.encoder, graph)
    events = [
        {
            "actor": "a",
            "target": "b",
            "type": edge.event,
            "target_type": edge.target,
            "timestamp": datetime.fromtimestamp(0, UTC),
        }
        for edge in schema.edges
    ]
    engine.apply(pl.DataFrame(events), now=0.0)
    engine.drain(1_000, now=1.0)
