"""The training loop: seeded, resumable from a checkpoint, reports progress, stops when told."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ml.compute.hashing import join, key_of
from ml.contracts.schema import EdgeKey
from ml.graph.message_types import MessageType
from ml.graph.sampler import Sample, Sampler, View
from ml.hgt.encoders import FeatureEncoder, NodeInputs
from ml.hgt.model import HGT, build_model
from ml.hgt.training.batches import BatchPlan, TrainingBatch
from ml.hgt.training.checkpoint import PartialEpoch, Progress, pack, restore
from ml.hgt.training.config import TEMPERATURES, TrainingConfig
from ml.hgt.training.losses import BatchShard, choose_candidates, edge_loss
from ml.hgt.training.minibatch import KnownPairs, on_device, seed_outputs
from ml.hgt.training.process_group import ALONE, Group
from ml.hgt.training.training_data import TrainingData

CENTERED = 20_000
"""From so many nodes of a type the middle of its embeddings is estimated."""


@dataclass(frozen=True)
class TrainedModel:
    """A trained model with the encoder it needs and the losses on the way."""

    model: HGT
    encoder: FeatureEncoder
    temperatures: dict[EdgeKey, float]
    history: tuple[Progress, ...]


class Stopped(Exception):
    """Training was told to stop; the last checkpoint has every step that was done."""


class _TrainingState(nn.Module):
    """What is learned: the model, and a temperature for each edge type (as its logarithm)."""

    def __init__(self, model: HGT, edge_types: int, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.log_temperature = nn.Parameter(torch.full((edge_types,), math.log(temperature)))
        # Popularity has a term of its own, so that embeddings need not spend themselves on it.
        self.popularity = nn.Parameter(torch.full((edge_types, 2), 0.5))

    def temperature(self) -> Tensor:
        return self.log_temperature.exp().clamp(*TEMPERATURES)


def train_on(
    data: TrainingData,
    config: TrainingConfig,
    *,
    checkpoint: bytes | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    save_checkpoint: Callable[[bytes], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    group: Group = ALONE,
) -> TrainedModel:
    """``ml.hgt.training.train.train`` on data that may lie on disk, as one process of a group.

    Args:
        group: All of its processes call this with the same arguments.
    """
    run = TrainingRun(data, config, group)
    history = [] if checkpoint is None else run.restore(checkpoint)
    if checkpoint is None:
        run.center()
    group.agree([parameter.data for parameter in run.state.parameters()])
    for epoch in range(len(history) + 1, config.epochs + 1):
        try:
            history.append(run.epoch(epoch, should_stop or (lambda: False)))
        except Stopped:
            if (
                save_checkpoint is not None
                and run.partial_epoch is not None
                and run.partial_epoch.steps
            ):
                save_checkpoint(run.pack(history))
            raise
        if save_checkpoint is not None:
            save_checkpoint(run.pack(history))
        if on_progress is not None:
            on_progress(history[-1])
    return run.trained(history)


class TrainingRun:
    """Weights, optimizer and data of one run.

    Attributes:
        partial_epoch: The epoch that is on its way.
    """

    def __init__(self, data: TrainingData, config: TrainingConfig, group: Group = ALONE) -> None:
        structure = data.structure
        self.data, self.config, self.group = data, config, group
        self.partial_epoch: PartialEpoch | None = None
        self.edges = structure.schema.edges
        self.sampler = Sampler(structure, config.fanouts, edge_ages=config.edge_ages)
        self.plan = BatchPlan(
            structure, config.seed, config.folds, config.batch_size, config.max_steps,
            config.temporal,
        )  # fmt: skip
        self.state = _TrainingState(
            build_model(data.encoder, config.model, seed=config.seed),
            len(self.edges),
            config.temperature,
        ).to(config.device)
        self.optimizer = torch.optim.AdamW(
            self.state.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )

    def restore(self, checkpoint: bytes) -> list[Progress]:
        """Raises: ValueError if the checkpoint is of another run."""
        identity = _identity(self.config, self.data)
        history, self.partial_epoch = restore(checkpoint, self.state, self.optimizer, identity)
        return history

    def pack(self, history: list[Progress]) -> bytes:
        """A checkpoint after the epochs of ``history`` and the steps since."""
        identity = _identity(self.config, self.data)
        return pack(self.state, self.optimizer, identity, history, self.partial_epoch)

    def trained(self, history: list[Progress]) -> TrainedModel:
        """The model as it is now."""
        self.state.eval()
        learned = self.state.temperature().detach().cpu().tolist()
        temperatures = {edge.key: t for edge, t in zip(self.edges, learned, strict=True)}
        return TrainedModel(self.state.model, self.data.encoder, temperatures, tuple(history))

    @torch.no_grad()
    def center(self) -> None:
        """Set each type's shift so that its embeddings begin around zero instead of around the
        mean of what everybody has in common; estimated from some nodes where there are many."""
        seeds = {
            name: known[np.linspace(0, len(known) - 1, min(len(known), CENTERED)).astype(int)]
            for name, known in self.plan.known_nodes.items()
        }
        sample = self.sampler.sample(seeds, View(sampling_key=key_of(self.config.seed)))
        for name, out in self._outputs(sample, 0.0, np.uint64(0)).items():
            if len(out):
                self.state.model.shift[name].copy_(-out.mean(0))

    def epoch(self, number: int, should_stop: Callable[[], bool]) -> Progress:
        """One pass over the pairs, from where it was stopped if it was.

        Raises:
            Stopped: if ``should_stop`` says so, to any process of the group.
            ValueError: if a loss is not finite.
        """
        config, steps = self.config, self.plan.steps
        if self.partial_epoch is None:
            self.partial_epoch = PartialEpoch(0, {edge.name: [] for edge in self.edges})
        self.state.train()
        for step in range(self.partial_epoch.steps, steps):
            if self.group.any(should_stop()):
                raise Stopped(f"stopped in epoch {number} of {config.epochs}")
            done = (number - 1) * steps + step
            for options in self.optimizer.param_groups:
                options["lr"] = config.learning_rate * _schedule(done, config.epochs * steps)
            for name, loss in self.step(self.plan.batch(self.sampler, number, step)).items():
                self.partial_epoch.losses[name].append(loss)
            self.partial_epoch.steps = step + 1
        means = {
            name: sum(x) / len(x) if x else None for name, x in self.partial_epoch.losses.items()
        }
        self.partial_epoch = None
        known = [x for x in means.values() if x is not None]
        loss = sum(known) / len(known) if known else 0.0
        return Progress(number, config.epochs, loss, means, number / config.epochs)

    def step(self, batch: TrainingBatch) -> dict[str, float]:
        """Learn from one batch; losses by edge type.

        Each process embeds its part of the nodes and asks its part of the questions.
        """
        z_dict = self.group.gather(self._embed(batch), batch.seeds)
        losses = self._losses(batch, z_dict)
        if not losses:
            return {}
        total = torch.stack(list(losses.values())).mean()
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        parameters = list(self.state.parameters())
        summed = self.group.add_up(parameters, torch.stack(list(losses.values())).detach())
        if not torch.isfinite(summed).all():
            raise ValueError(f"the loss is {summed.mean().item()}: lower the learning rate")
        nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimizer.step()
        return dict(zip(losses, summed.tolist(), strict=True))

    def _embed(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Embeddings of this process's part of the seeds."""
        mine = {name: self.group.part(seeds) for name, seeds in batch.seeds.items()}
        nodes = self.data.structure.num_nodes
        whole = sum(map(len, mine.values())) * 2 > sum(nodes.values())
        # Rows of nearly everything: as fast with all, and nothing has to be numbered anew.
        seeds = self.sampler.everything() if whole else mine
        sample = self.sampler.sample(seeds, batch.view)
        z_dict = {
            name: self.state.model.finish(name, out)
            for name, out in self._outputs(
                sample, self.config.forget, batch.view.sampling_key
            ).items()
        }
        if not whole:
            return z_dict
        device = self.config.device
        return {
            name: z if len(mine[name]) == len(z)
            else z.index_select(0, torch.from_numpy(mine[name]).to(device))
            for name, z in z_dict.items()
        }  # fmt: skip

    def _outputs(self, sample: Sample, unknown: float, key: np.uint64) -> dict[str, Tensor]:
        device = self.config.device
        inputs: dict[str, NodeInputs] = {}
        for position, (name, nodes) in enumerate(sample.nodes.items()):
            salt = np.uint64(join(key, position))
            inputs[name] = self.data.tables[name].take(nodes, unknown=unknown, key=salt).to(device)
        moved = Sample(sample.nodes, sample.sizes, on_device(sample.hops, device))
        return seed_outputs(self.state.model, inputs, moved)

    def _losses(self, batch: TrainingBatch, z_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        structure, device = self.data.structure, self.config.device
        scale, popularity = 1.0 / self.state.temperature(), self.state.popularity
        shard = BatchShard(self.group.rank, self.group.size)
        losses: dict[str, Tensor] = {}
        for position, edge in enumerate(self.edges):
            seeds = batch.seeds[edge.source], batch.seeds[edge.target]
            ends = zip(seeds, batch.pairs[edge.key], strict=True)
            pairs = torch.from_numpy(np.stack([np.searchsorted(s, end) for s, end in ends]))
            pairs, links = pairs.to(device), structure.links[edge.key]
            sizes = [len(self.plan.known_nodes[end]) for end in (edge.source, edge.target)]
            forward = MessageType(*edge.key)
            counted = [
                torch.from_numpy(np.log1p(self.sampler.counts(message, nodes, batch.view))).to(
                    device
                )
                for message, nodes in zip((forward.reversed, forward), seeds, strict=True)
            ]
            loss = edge_loss(
                z_dict[edge.source],
                z_dict[edge.target],
                pairs,
                forward=KnownPairs(links.by_source, *seeds),
                backward=KnownPairs(links.by_target, *seeds[::-1]),
                scale=scale[position],
                bias_src=popularity[position, 0] * counted[0],
                bias_dst=popularity[position, 1] * counted[1],
                candidates=(
                    choose_candidates(pairs[0], sizes[0]), choose_candidates(pairs[1], sizes[1]),
                ),
                shard=shard,
            )  # fmt: skip
            if loss is not None:
                losses[edge.name] = loss
        return losses


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over a tenth of the steps, then a cosine down to a twentieth."""
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _identity(config: TrainingConfig, data: TrainingData) -> dict[str, Any]:
    """What a checkpoint is of; where and in how many processes it was made does not matter."""
    fields = config.to_dict()
    for name in ("device", "processes", *(() if config.edge_ages else ("edge_ages",))):
        del fields[name]
    structure = data.structure
    nodes = dict(structure.num_nodes)
    return {"config": fields, "schema": structure.schema.hash, "nodes": nodes}
