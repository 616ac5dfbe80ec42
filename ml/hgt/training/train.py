"""Training from a graph to a model, in one process or several."""

from collections.abc import Callable

from ml.graph.graph import Graph
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.training.checkpoint import Progress
from ml.hgt.training.config import TrainingConfig
from ml.hgt.training.distributed import train_in_processes
from ml.hgt.training.loop import Stopped, TrainedModel, train_on
from ml.hgt.training.training_data import TrainingData

__all__ = ["Stopped", "TrainedModel", "TrainingConfig", "train"]


def train(
    graph: Graph,
    config: TrainingConfig,
    *,
    encoder: FeatureEncoder | None = None,
    checkpoint: bytes | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    save_checkpoint: Callable[[bytes], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainedModel:
    """Train encoders and HGT jointly on a graph's edges.

    Every draw is a function of seed, epoch and step: a run that goes on from a checkpoint ends as
    one that was never interrupted.

    Args:
        encoder: Fitted on the graph's features if it is not given.
        checkpoint: What ``save_checkpoint`` was given by an earlier run of the same config, in as
            many processes or not.
        should_stop: Asked before each step.

    Raises:
        Stopped: if ``should_stop`` says so.
        ValueError: if the checkpoint is of another config or schema, or a loss is not finite.
        ml.hgt.training.process_group.ProcessLost: if one of several processes was killed.
    """
    encoder = encoder or FeatureEncoder.of_graph(graph)
    data = TrainingData.of(graph, encoder, timed=config.temporal)
    run = train_in_processes if config.processes > 1 else train_on
    return run(
        data, config, checkpoint=checkpoint, on_progress=on_progress,
        save_checkpoint=save_checkpoint, should_stop=should_stop,
    )  # fmt: skip
