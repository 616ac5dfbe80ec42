"""A graph on disk: Parquet, NumPy arrays and JSON. Nothing in it is executed when it is read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ml.contracts.schema import GraphSchema
from ml.graph.graph import Edges, Graph

FORMAT = 1


def save_graph(graph: Graph, folder: Path) -> None:
    """Write a graph into ``folder``, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for node in graph.schema.nodes:
        ids = pl.Series(node.id_column, graph.node_ids[node.name], dtype=pl.String)
        frame = ids.to_frame().hstack(graph.features[node.name])
        frame.write_parquet(folder / f"{node.table}.parquet")
    arrays: dict[str, Any] = {}
    for position, edge in enumerate(graph.schema.edges):
        edges = graph.edges[edge.key]
        arrays[f"{position}.src"], arrays[f"{position}.dst"] = edges.src, edges.dst
        if edges.time is not None:
            arrays[f"{position}.time"] = edges.time
    if graph.labels is not None:
        arrays["labels"] = graph.labels
    np.savez(folder / "edges.npz", **arrays)
    about = {
        "format": FORMAT,
        "schema": graph.schema.to_dict(),
        "scope": graph.scope,
        "sample_ratio": graph.sample_ratio,
        "dropped_events": graph.dropped_events,
        "listed": dict(graph.listed),
    }
    (folder / "graph.json").write_text(json.dumps(about, indent=2))


def load_graph(folder: Path) -> Graph:
    """Read what ``save_graph`` wrote.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the folder was written in another format.
    """
    about = json.loads((folder / "graph.json").read_text())
    if about.get("format") != FORMAT:
        raise ValueError(f"{folder} has graph format {about.get('format')!r}, expected {FORMAT}")
    schema = GraphSchema.from_dict(about["schema"])
    frames = {node.name: pl.read_parquet(folder / f"{node.table}.parquet") for node in schema.nodes}
    with np.load(folder / "edges.npz", allow_pickle=False) as arrays:
        edges = {
            edge.key: Edges(
                arrays[f"{position}.src"],
                arrays[f"{position}.dst"],
                arrays.get(f"{position}.time"),
            )
            for position, edge in enumerate(schema.edges)
        }
        labels = arrays.get("labels")
    return Graph(
        schema=schema,
        node_ids={n.name: tuple(frames[n.name][n.id_column].to_list()) for n in schema.nodes},
        features={n.name: frames[n.name].drop(n.id_column) for n in schema.nodes},
        edges=edges,
        labels=labels,
        scope=about["scope"],
        sample_ratio=about["sample_ratio"],
        dropped_events=about["dropped_events"],
        listed=about.get("listed", {}),
    )
