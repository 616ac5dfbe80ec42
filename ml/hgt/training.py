"""The training loop: seeded, resumable from a checkpoint, reports progress, stops when told."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ml.data.schema import EdgeKey
from ml.graph.graph import Graph, reverse
from ml.graph.sampling import Messages, build_messages, pair_tensors
from ml.hgt.checkpoint import Progress, pack, restore
from ml.hgt.encoders import UNKNOWN_SLOT, FeatureEncoder, NodeInputs
from ml.hgt.losses import Positives, edge_loss
from ml.hgt.model import HGT, ModelConfig, build_model, center, graph_inputs

TEMPERATURES = (0.05, 0.5)


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Args:
        epochs: Passes in which every distinct pair is supervised once.
        learning_rate: Peak of a cosine schedule with a short warm-up.
        temperature: Where the learned temperature of each edge type starts.
        seed: Of the weights and of every draw.
        folds: Parts of an epoch: one part is supervised while the others carry the messages.
        fanout: At most so many random edges of one type into a node in a training step.
        batch_size: At most so many supervised edges of one type in a step.
        forget: Share of categories and nodes taken for unknown in a step, so that it is learned.
        device: ``cpu`` or ``cuda``.
    """

    epochs: int = 8
    learning_rate: float = 0.01
    temperature: float = 0.1
    seed: int = 0
    hidden: int = 64
    heads: int = 4
    layers: int = 2
    folds: int = 3
    fanout: int = 30
    batch_size: int = 2048
    forget: float = 0.1
    weight_decay: float = 1e-4
    device: str = "cpu"

    def __post_init__(self) -> None:
        low, high = TEMPERATURES
        if self.epochs < 1 or self.folds < 2 or self.fanout < 1 or self.batch_size < 2:
            raise ValueError(
                f"epochs {self.epochs}, folds {self.folds}, fanout {self.fanout}, batch_size "
                f"{self.batch_size}: expected at least 1, 2, 1 and 2"
            )
        if not low <= self.temperature <= high:
            raise ValueError(f"temperature is {self.temperature}, expected {low} to {high}")
        if not 0.0 < self.learning_rate <= 1.0:
            raise ValueError(f"learning_rate is {self.learning_rate}, expected above 0 to 1")

    @property
    def model(self) -> ModelConfig:
        return ModelConfig(self.hidden, self.heads, self.layers)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Trained:
    """A trained model with the encoder it needs and the losses on the way."""

    model: HGT
    encoder: FeatureEncoder
    temperatures: dict[EdgeKey, float]
    history: tuple[Progress, ...]


class Stopped(Exception):
    """Training was told to stop; the last checkpoint has everything up to the last epoch."""


class _State(nn.Module):
    """What is learned: the model, and a temperature for each edge type (as its logarithm)."""

    def __init__(self, model: HGT, edge_types: int, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.log_temperature = nn.Parameter(torch.full((edge_types,), math.log(temperature)))
        # Popularity has a term of its own, so that embeddings need not spend themselves on it.
        self.popularity = nn.Parameter(torch.full((edge_types, 2), 0.5))

    def temperature(self) -> Tensor:
        return self.log_temperature.exp().clamp(*TEMPERATURES)


def train(
    graph: Graph,
    config: TrainingConfig,
    *,
    encoder: FeatureEncoder | None = None,
    checkpoint: bytes | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    save_checkpoint: Callable[[bytes], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Trained:
    """Train encoders and HGT jointly on a graph's edges.

    Every epoch draws from a generator of its own, made from the seed and its number: a run that
    goes on from a checkpoint ends as one that was never interrupted.

    Args:
        encoder: Fitted on the graph's features if it is not given.
        checkpoint: What ``save_checkpoint`` was given by an earlier run of the same config.
        should_stop: Asked before each step.

    Raises:
        Stopped: if ``should_stop`` says so.
        ValueError: if the checkpoint is of another config or schema, or a loss is not finite.
    """
    encoder = encoder or FeatureEncoder.fit(graph.schema, graph.features, graph.node_ids)
    state = _State(
        build_model(encoder, config.model, seed=config.seed),
        len(graph.schema.edges),
        config.temperature,
    ).to(config.device)
    optimizer = torch.optim.AdamW(
        state.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    history: list[Progress] = []
    if checkpoint is not None:
        history = restore(checkpoint, state, optimizer, _identity(config, graph))
    else:
        center(state.model, *_everything(graph, encoder, config.device))
    loop = _Loop(graph, config, encoder, state, optimizer, should_stop or (lambda: False))
    for epoch in range(len(history) + 1, config.epochs + 1):
        progress = loop.epoch(epoch)
        history.append(progress)
        if save_checkpoint is not None:
            save_checkpoint(pack(state, optimizer, _identity(config, graph), history))
        if on_progress is not None:
            on_progress(progress)
    state.eval()
    learned = state.temperature().detach().cpu().tolist()
    temperatures = {edge.key: t for edge, t in zip(graph.schema.edges, learned, strict=True)}
    return Trained(state.model, encoder, temperatures, tuple(history))


class _Loop:
    """The tensors that every epoch shares."""

    def __init__(
        self,
        graph: Graph,
        config: TrainingConfig,
        encoder: FeatureEncoder,
        state: _State,
        optimizer: torch.optim.Optimizer,
        should_stop: Callable[[], bool],
    ) -> None:
        self.graph, self.config, self.state, self.optimizer = graph, config, state, optimizer
        self.should_stop = should_stop
        self.inputs = graph_inputs(encoder, graph, config.device)
        self.pairs = pair_tensors(graph, config.device)
        nodes = graph.num_nodes
        self.forward = {k: Positives.of(p[0], p[1], nodes[k[0]]) for k, p in self.pairs.items()}
        # Each fold comes up so often that every pair of the largest edge type has its turn.
        largest = max((p.size(1) for p in self.pairs.values()), default=0)
        self.rounds = max(1, math.ceil(largest / config.folds / config.batch_size))
        self.backward = {k: Positives.of(p[1], p[0], nodes[k[2]]) for k, p in self.pairs.items()}

    def epoch(self, number: int) -> Progress:
        """One pass: each fold of the pairs is supervised once."""
        config = self.config
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
        fold = {
            key: torch.randperm(pairs.size(1), generator=generator) % config.folds
            for key, pairs in self.pairs.items()
        }
        fold = {key: part.to(config.device) for key, part in fold.items()}
        sums: dict[str, list[float]] = {edge.name: [] for edge in self.graph.schema.edges}
        self.state.train()
        steps = config.folds * self.rounds
        for step in range(steps):
            if self.should_stop():
                raise Stopped(f"stopped in epoch {number} of {config.epochs}")
            done = (number - 1) * steps + step
            for group in self.optimizer.param_groups:
                group["lr"] = config.learning_rate * _schedule(done, config.epochs * steps)
            for name, loss in self._step(fold, step % config.folds, generator).items():
                sums[name].append(loss)
        means = {name: sum(x) / len(x) if x else None for name, x in sums.items()}
        known = [x for x in means.values() if x is not None]
        loss = sum(known) / len(known) if known else 0.0
        return Progress(number, config.epochs, loss, means, number / config.epochs)

    def _step(
        self, fold: dict[EdgeKey, Tensor], part: int, generator: torch.Generator
    ) -> dict[str, float]:
        """Supervise one fold while the others carry the messages; losses by edge type."""
        graph, config = self.graph, self.config
        messages = build_messages(
            graph.schema, graph.num_nodes,
            {key: pairs[:, fold[key] != part] for key, pairs in self.pairs.items()},
            fanout=config.fanout, generator=generator,
        )  # fmt: skip
        z_dict = self.state.model(self._forgetful(generator), messages)
        scale, popularity = 1.0 / self.state.temperature(), self.state.popularity
        losses: dict[str, Tensor] = {}
        for position, edge in enumerate(graph.schema.edges):
            chosen = self.pairs[edge.key][:, fold[edge.key] == part]
            if chosen.size(1) > config.batch_size:
                drawn = torch.randperm(chosen.size(1), generator=generator)[: config.batch_size]
                chosen = chosen[:, drawn.to(chosen.device)]
            loss = edge_loss(
                z_dict[edge.source],
                z_dict[edge.target],
                chosen,
                forward=self.forward[edge.key],
                backward=self.backward[edge.key],
                scale=scale[position],
                bias_src=popularity[position, 0] * messages.log_counts[reverse(edge.key)],
                bias_dst=popularity[position, 1] * messages.log_counts[edge.key],
            )
            if loss is not None:
                losses[edge.name] = loss
        if losses:
            total = torch.stack(list(losses.values())).mean()
            if not torch.isfinite(total):
                raise ValueError(f"the loss is {total.item()}: lower the learning rate")
            self.optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.state.parameters(), 1.0)
            self.optimizer.step()
        return {name: loss.item() for name, loss in losses.items()}

    def _forgetful(self, generator: torch.Generator) -> dict[str, NodeInputs]:
        """Inputs in which some categories and nodes are unknown."""
        forgetful = {}
        for name, inputs in self.inputs.items():
            forgetful[name] = replace(
                inputs,
                categorical=self._forget(inputs.categorical, generator),
                slot=self._forget(inputs.slot, generator),
            )
        return forgetful

    def _forget(self, slots: Tensor, generator: torch.Generator) -> Tensor:
        draw = torch.rand(slots.shape, generator=generator)
        return slots.masked_fill((draw < self.config.forget).to(slots.device), UNKNOWN_SLOT)


def _everything(
    graph: Graph, encoder: FeatureEncoder, device: str
) -> tuple[dict[str, NodeInputs], Messages]:
    """Inputs of all nodes and messages along all pairs."""
    messages = build_messages(graph.schema, graph.num_nodes, pair_tensors(graph, device))
    return graph_inputs(encoder, graph, device), messages


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over a tenth of the steps, then a cosine down to a twentieth."""
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _identity(config: TrainingConfig, graph: Graph) -> dict[str, Any]:
    shape = {name: len(ids) for name, ids in graph.node_ids.items()}
    fields = {key: value for key, value in config.to_dict().items() if key != "device"}
    return {"config": fields, "schema": graph.schema.hash, "nodes": shape}
