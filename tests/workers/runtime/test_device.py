"""UPS_DEVICE: a GPU that is asked for and not there is an error, never a silent CPU."""

import os
import subprocess
import sys

import pytest
import torch

from controlcenter.embedded import locate
from workers.runtime.device import NoGpu, choose, for_task

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def test_cpu_and_auto():
    assert choose("cpu") == "cpu"
    assert choose("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@no_gpu
def test_gpu_without_one_says_what_to_do():
    with pytest.raises(NoGpu, match="finds no CUDA device"):
        choose("gpu")


@no_gpu
def test_a_task_that_insists_on_a_gpu_fails_on_a_worker_without(settings):
    settings.DEVICE = "auto"
    with pytest.raises(NoGpu):
        for_task("gpu")
    assert for_task("auto") == for_task("cpu") == "cpu"


@no_gpu
def test_a_worker_told_to_use_a_gpu_refuses_to_start():
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-Q", "refresh-gpu"]
    done = subprocess.run(
        [*command, "-c", "1", "-P", "solo"],
        cwd=locate.REPOSITORY,
        env={**os.environ, "UPS_DEVICE": "gpu"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "UPS_DEVICE is gpu and torch finds no CUDA device" in done.stderr + done.stdout
