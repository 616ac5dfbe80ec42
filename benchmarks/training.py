"""What training costs as graphs grow: the sampler, a step, memory, processes.

Costs are core-seconds (the processor time of all threads), which a busy machine changes little;
divided by the cores they are the seconds at best. ``--largest 1e8`` adds a size.
"""

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from benchmarks.harness import Memory, Row, Sample, peak_memory, run
from benchmarks.hgt import Size, draw_pairs
from ml.compute.hashing import key_of
from ml.contracts.schema import TELECOM
from ml.graph.adjacency import build_adjacency
from ml.graph.graph import Edges, Graph
from ml.graph.message_types import MessageType, message_types
from ml.graph.sampler import Sampler, View
from ml.graph.sampling_kernels import pairs_at
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.training.config import TrainingConfig
from ml.hgt.training.loop import TrainingRun, train_on
from ml.hgt.training.training_data import TrainingData

USUAL = TrainingConfig(epochs=1, max_steps=None)
SMALL = replace(USUAL, fanout=10, fanout_below=5, batch_size=512)
"""For graphs that are much larger than what a batch needs."""
STEPS = 3


def size_of(edges: float) -> Size:
    """A graph with about so many directed edges."""
    users = max(500, int(edges / 40))
    return Size(f"{edges:.0e} edges", users, 2_000, 500, int(edges / 2))


def graph_of(size: Size, seed: int = 0) -> Graph:
    """A drawn graph with the features of the telecom schema."""
    chance = np.random.default_rng(seed)
    features = {}
    for node in TELECOM.nodes:
        n = size.num_nodes[node.name]
        features[node.name] = pl.DataFrame(
            {name: chance.normal(size=n) for name in node.names("numeric")}
            | {name: chance.choice(["a", "b", "c"], n) for name in node.names("categorical")}
        )
    pairs = draw_pairs(size, seed)
    return Graph(
        schema=TELECOM,
        node_ids={
            name: tuple(f"{name[0]}{i}" for i in range(n)) for name, n in size.num_nodes.items()
        },
        features=features,
        edges={key: Edges(*pair.numpy()) for key, pair in pairs.items()},
    )


def data_of(edges: float) -> TrainingData:
    graph = graph_of(size_of(edges))
    return TrainingData.of(graph, FeatureEncoder.of_graph(graph))


def core_seconds(work: Callable[[], object], repeat: int = STEPS) -> Sample:
    """Processor time of a call, the first one not counted."""
    spent = []
    for _ in range(repeat + 1):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return Sample.of(spent[1:])


def stepper(data: TrainingData, config: TrainingConfig) -> Callable[[], object]:
    """One training step after another."""
    training = TrainingRun(data, config)
    numbers = itertools.count()
    return lambda: training.step(
        training.plan.batch(training.sampler, 1, next(numbers) % training.plan.steps)
    )


def prepare_step(folder: str, config: TrainingConfig) -> Callable[[], object]:
    """Two steps on mapped files, in a process of its own whose memory is measured."""
    torch.set_num_threads(1)
    step = stepper(TrainingData.open(Path(folder)), config)

    def work() -> None:
        for _ in range(2):
            step()

    return work


def sampler_row(data: TrainingData, size: str) -> Row:
    """Drawing the messages of a step over the whole graph, beside sorting all edges anew."""
    sampler = Sampler(data.structure, [USUAL.fanout])
    everything, numbers = sampler.everything(), itertools.count()
    pairs = {
        key: torch.from_numpy(
            np.stack(pairs_at(side.start, side.other, np.arange(len(side.other))))
        )
        for key, side in ((key, links.by_source) for key, links in data.structure.links.items())
    }
    generator = torch.Generator().manual_seed(0)
    return Row(
        what="training: draw a step's edges",
        size=size,
        unit="core-s",
        ours=core_seconds(
            lambda: sampler.sample(everything, View(key_of(next(numbers)), key_of(1), 3, 1))
        ),
        peer=core_seconds(lambda: by_sorting(data, pairs, generator)),
        peer_name="torch: shuffle, argsort",
        required=1,
        threads=torch.get_num_threads(),
    )


def by_sorting(
    data: TrainingData, pairs: dict[tuple[str, str, str], Tensor], generator: torch.Generator
) -> object:
    """The same draw by shuffling and sorting all edges."""
    kept = {}
    for key, pair in pairs.items():
        pair = pair[:, torch.randperm(pair.size(1), generator=generator) % 3 != 1]
        message = MessageType(*key)
        kept[message], kept[message.reversed] = pair, pair.flip(0)
    capped = {message: _capped(kept[message], generator) for message in message_types(TELECOM)}
    return build_adjacency(data.structure.num_nodes, capped)


def _capped(edges: Tensor, generator: torch.Generator) -> Tensor:
    shuffled = torch.randperm(edges.size(1), generator=generator)
    order = shuffled[torch.argsort(edges[1, shuffled], stable=True)]
    target, place = edges[1, order], torch.arange(len(order))
    first = torch.ones(len(order), dtype=torch.bool)
    first[1:] = target[1:] != target[:-1]
    start = torch.cummax(torch.where(first, place, torch.zeros_like(place)), 0).values
    return edges[:, order[place - start < USUAL.fanout]]


def step_rows(edges: float) -> list[Row]:
    """Cost and memory of steps at one size, from files."""
    size, rows = size_of(edges).name, []
    with tempfile.TemporaryDirectory() as folder:
        data = data_of(edges)
        data.save(Path(folder))
        on_disk = sum(path.stat().st_size for path in Path(folder).iterdir())
        rows.append(sampler_row(data, size))
        for name, config in (("", USUAL), (", small batch", SMALL)):
            training = TrainingRun(data, config)
            batch = training.plan.batch(training.sampler, 1, 0)
            seen = training.sampler.sample(batch.seeds, batch.view)
            cost = core_seconds(stepper(data, config))
            memory: Memory = peak_memory(prepare_step, folder, config)
            epoch = cost.median * training.plan.steps
            notes = (
                f"{training.plan.steps} steps an epoch: {epoch:.3g} core-s; "
                f"{sum(map(len, batch.seeds.values())):,} seeds, "
                f"{sum(map(len, seen.nodes.values())):,} nodes and {seen.num_edges:,} edges drawn"
            )
            rows.append(
                Row(what=f"training: step{name}", size=size, unit="core-s", ours=cost, notes=notes)
            )
            rows.append(
                Row(
                    what=f"training: memory{name}", size=size, unit="B",
                    ours=memory.peak - memory.before,
                    notes=f"on top of {memory.before / 1e6:.0f} MB; files {on_disk / 1e6:.0f} MB",
                )
            )  # fmt: skip
    return rows


def process_rows(edges: float) -> list[Row]:
    """One process with all cores beside two with half of them each; an epoch, wall clock."""
    from ml.hgt.training.distributed import train_in_processes

    data, config = data_of(edges), replace(USUAL, epochs=2, max_steps=12)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for count in seconds:
        told: list[float] = []
        learn = train_on if count == 1 else train_in_processes
        learn(
            data,
            replace(config, processes=count),
            on_progress=lambda _, told=told: told.append(time.perf_counter()),  # type: ignore[misc]
        )
        seconds[count].append(told[1] - told[0])
    return [
        Row(
            what="training: 12 steps, 2 processes", size=size_of(edges).name,
            ours=Sample.of(seconds[2]), peer=Sample.of(seconds[1]), peer_name="1 process",
            notes="the same cores",
        )
    ]  # fmt: skip


def rows(largest: float) -> list[Row]:
    sizes = [10.0**power for power in range(5, int(np.log10(largest)) + 1)]
    found = [row for edges in sizes for row in step_rows(edges)]
    return found + process_rows(min(largest, 1e6))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=float, default=1e7, help="directed edges")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    run(partial(rows, asked.largest), "training")
