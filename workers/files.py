"""The files that the stages of a task leave for each other, and how those before are read."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.stages import outputs
from controlcenter.modelling.tasks.workflows import Workflow, path
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.services import fetch_all
from controlcenter.serving.incremental.queries import graph_to_score
from ml.bundle import ModelBundle, load_bundle
from ml.graph.graph import Graph
from ml.graph.splits import Split, with_added
from ml.graph.storage import load_graph
from workers.runtime.errors import PermanentError
from workers.runtime.execution import Execution
from workers.runtime.retries import STORE_PATIENCE

GRAPH, SAMPLE, MODEL = "graph/", "sample/", "model/"
COUNTS, PEERS, LAST_EVENTS = "counts.parquet", "peers.parquet", "last_events.parquet"
ADDED = "added.parquet"
"""Events that optimizing made: only training sees them, they are no part of the graph."""


def built_files(task: Task) -> list[Artifact]:
    """What the graph of this task is made of; a fusion learns from its base version's."""
    if task.workflow != Workflow.FUSION:
        return outputs(task, states.BUILDING)
    if task.base_version is None:
        raise PermanentError("The task has no base version: create one that names it.")
    return list(task.base_version.graph_files.all())


def scored_files(task: Task) -> list[Artifact]:
    """What is made of the graph that the profiles will be of: a fusion scores the present one."""
    if task.workflow != Workflow.FUSION or task.base_version is None:
        return built_files(task)
    return graph_to_score(task.base_version)


def trained_files(task: Task) -> list[Artifact]:
    """What the model of this task is made of: trained by it, or its base version's."""
    if states.TRAINING in path(task.workflow, task.mode):
        return outputs(task, states.TRAINING)
    if task.base_version is None:
        raise PermanentError("The task has no base version: create one that names it.")
    return list(task.base_version.files.all())


def fetch(execution: Execution, files: list[Artifact], folder: str) -> Path:
    """The files in a folder of the run."""
    return fetch_all(files, execution.folder / folder, patience=STORE_PATIENCE)


@dataclass(frozen=True)
class Graphs:
    """What a version is made of.

    Args:
        training: Of the users that the network learns from: the sample, if there is one.
        whole: Of everybody, who are all scored: fusion, scales and rules are fitted on it.
    """

    training: Graph
    whole: Graph


def load_graphs(folder: Path, *, sampled: bool = True) -> Graphs:
    """Both graphs.

    Args:
        sampled: Whether a network learns from the sample, if there is one; else it is not read.
    """
    whole = load_whole_graph(folder)
    return Graphs(load_training_graph(folder) if sampled and has_sample(folder) else whole, whole)


def load_training_graph(folder: Path) -> Graph:
    """The graph to train on: the sample if there is one."""
    return load_graph(folder / (SAMPLE if has_sample(folder) else GRAPH))


def has_sample(folder: Path) -> bool:
    return (folder / SAMPLE).is_dir()


def learning_graph(split: Split, folder: Path, *, temporal: bool = False) -> Graph:
    """What a network learns from: the train part, and what optimizing added to it, if anything.

    Everything else (decoder, fusion, metrics, profiles) is made of the split and the graph, which
    know nothing of added events.

    Args:
        temporal: Added events are left out: they are made from the whole train part, so that in the
            order of time they would tell what comes later.
    """
    path = folder / ADDED
    if temporal or not path.is_file():
        return split.train
    return with_added(split, split.train.edges_of(pl.read_parquet(path)))


def load_whole_graph(folder: Path) -> Graph:
    """The graph of everybody."""
    return load_graph(folder / GRAPH)


def load_model(folder: Path, device: str) -> ModelBundle:
    """The model of a version, checked against its manifest."""
    return load_bundle(folder / MODEL, device=device)
