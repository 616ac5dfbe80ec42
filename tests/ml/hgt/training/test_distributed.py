"""Several real processes: they learn what one learns, and end together."""

import io
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL

import numpy as np
import psutil
import pytest
import torch

from ml.graph.graph import build_graph
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.training import distributed
from ml.hgt.training.distributed import save_run
from ml.hgt.training.process_group import ProcessLost
from ml.hgt.training.train import Stopped, TrainingConfig, train
from ml.hgt.training.training_data import TrainingData

CONFIG = TrainingConfig(epochs=2, fanout=5, batch_size=300, processes=2)
ENDLESS = replace(CONFIG, epochs=1000)


@pytest.fixture(scope="module")
def graph(population):
    return build_graph(population)


def ranks_of(parent: psutil.Process) -> list[psutil.Process]:
    found = []
    for process in parent.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            words = process.cmdline()
            if "ml.hgt.training.distributed" in words and "torch.distributed.run" not in words:
                found.append(process)
    return found


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("how", [{}, {"temporal": True, "edge_ages": (7.0, 30.0)}])
def test_two_processes_learn_what_one_learns(graph, how):
    told, config = [], replace(CONFIG, **how)
    one = train(graph, replace(config, processes=1))
    two = train(graph, config, on_progress=told.append)
    assert tuple(told) == two.history
    for alone, together in zip(one.history, two.history, strict=True):
        assert together.loss == pytest.approx(alone.loss, abs=1e-4)
        assert together.losses_by_edge_type == pytest.approx(alone.losses_by_edge_type, abs=1e-4)
    weights = two.model.state_dict()
    for name, weight in one.model.state_dict().items():
        np.testing.assert_allclose(weights[name], weight, atol=2e-3, err_msg=name)


def test_a_killed_process_ends_all_and_the_run_goes_on_from_its_checkpoint(graph):
    checkpoints, killed = epochs_alone(graph, 2), []

    def kill_one(progress):
        ranks = ranks_of(psutil.Process())
        assert len(ranks) == 2
        if progress.epoch == 4:
            ranks[1].send_signal(SIGKILL)
            killed.extend(ranks)

    with pytest.raises(ProcessLost, match="one of 2 training processes was killed"):
        train(
            graph, ENDLESS, checkpoint=checkpoints[-1], on_progress=kill_one,
            save_checkpoint=checkpoints.append,
        )  # fmt: skip
    assert killed
    assert not [process for process in killed if process.is_running()]
    assert not ranks_of(psutil.Process())
    assert len(epochs_alone(graph, 1, checkpoints[-1])) == 1


def epochs_alone(graph, count, checkpoint=None):
    """Checkpoints of some epochs of the endless run in one process."""
    kept = []
    with pytest.raises(Stopped):
        train(
            graph, replace(ENDLESS, processes=1), checkpoint=checkpoint,
            save_checkpoint=kept.append, should_stop=lambda: len(kept) == count,
        )  # fmt: skip
    return kept


def test_an_error_in_the_work_is_told_as_in_one_process(graph):
    checkpoint = epochs_alone(graph, 1)[0]
    with pytest.raises(ValueError, match="start without it"):
        train(graph, replace(ENDLESS, seed=9), checkpoint=checkpoint)


def test_a_stop_ends_the_processes_and_loses_no_step(graph):
    """They agree on the step after which they stop; one process goes on from there."""
    told, kept = [], []
    with pytest.raises(Stopped):
        train(
            graph, ENDLESS, on_progress=told.append, save_checkpoint=kept.append,
            should_stop=lambda: bool(told),
        )  # fmt: skip
    assert not ranks_of(psutil.Process())
    last = torch.load(io.BytesIO(kept[-1]), weights_only=True)
    epochs, begun = len(last["history"]), last["begun"]
    assert epochs >= len(told)
    left = iter([False] * (begun["steps"] if begun else 0) + [True])
    alone, passed = [], []
    with pytest.raises(Stopped):
        train(
            graph, replace(ENDLESS, processes=1), on_progress=passed.append,
            save_checkpoint=alone.append,
            should_stop=lambda: len(passed) == epochs and next(left),
        )  # fmt: skip
    expected = torch.load(io.BytesIO(alone[-1]), weights_only=True)
    assert len(expected["history"]) == epochs
    for name, weight in expected["state"].items():
        np.testing.assert_allclose(last["state"][name], weight, atol=2e-3, err_msg=name)


def test_the_processes_die_with_their_parent(graph, tmp_path):
    encoder = FeatureEncoder.fit(graph.schema, graph.features, graph.node_ids)
    save_run(TrainingData.of(graph, encoder), ENDLESS, tmp_path)
    program = (
        "import sys; from pathlib import Path; from ml.hgt.training.distributed import _Processes\n"
        "with _Processes(Path(sys.argv[1]), 2) as processes:\n"
        "    while True: print(processes.next(None).epoch, flush=True)\n"
    )
    root = Path(distributed.__file__).resolve().parents[3]
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"1\n"
    below = psutil.Process(parent.pid).children(recursive=True)
    assert len(below) >= 3
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not [p for p in below if p.is_running() and p.status() != "zombie"])
