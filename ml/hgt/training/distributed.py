"""Training in several processes: started, watched and ended from one.

``train_in_processes`` writes the data to a folder and starts torchrun with this module as the
program of each process; they map the data into memory, so that it is there once. The first process
tells each epoch over a pipe and leaves checkpoints in the folder. Two pipes keep the processes
together: they stop after a step when something is written to their input, they end when it ends,
which it does when the parent dies, and the parent knows that all are gone when their output ends.

On several machines: ``save_run`` on the first, copy the folder to each, then on each of them
``torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29400
-m ml.hgt.training.distributed FOLDER``. The checkpoint is in the folder of the machine with rank 0.
"""

import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from signal import SIGKILL
from typing import Any

import torch
from torch import distributed

from ml.hgt.training.checkpoint import Progress
from ml.hgt.training.config import TrainingConfig
from ml.hgt.training.loop import Stopped, TrainedModel, TrainingRun, train_on
from ml.hgt.training.process_group import Group, ProcessLost
from ml.hgt.training.training_data import TrainingData

CONFIG, CHECKPOINT, DATA = "config.json", "checkpoint", "data"
WATCH = "UPS_TRAINING_WATCH"
"""Set where the input is a pipe from the parent."""
POLL_SECONDS = 0.2
PATIENCE_SECONDS = 20.0
STOP_SECONDS = 6.0
"""A step that takes longer is not waited for: its work is lost, back to the last epoch."""

PREFIX = "\x1e"
"""Begins a line that is for the parent."""


def train_in_processes(
    data: TrainingData,
    config: TrainingConfig,
    *,
    checkpoint: bytes | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    save_checkpoint: Callable[[bytes], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainedModel:
    """``ml.hgt.training.loop.train_on`` in ``config.processes`` processes on this machine.

    Raises:
        ProcessLost: if one was killed; none is left then.
        Stopped, ValueError: as in one process.
    """
    with tempfile.TemporaryDirectory(prefix="training-") as name:
        folder = Path(name)
        save_run(data, config, folder, checkpoint=checkpoint)
        with _Processes(folder, config.processes) as processes:
            try:
                while (progress := processes.next(should_stop)) is not None:
                    if save_checkpoint is not None:
                        save_checkpoint((folder / CHECKPOINT).read_bytes())
                    if on_progress is not None:
                        on_progress(progress)
            except Stopped:
                processes.stop()
                if save_checkpoint is not None and (folder / CHECKPOINT).exists():
                    save_checkpoint((folder / CHECKPOINT).read_bytes())
                raise
        run = TrainingRun(data, config)
        return run.trained(run.restore((folder / CHECKPOINT).read_bytes()))


def save_run(
    data: TrainingData, config: TrainingConfig, folder: Path, *, checkpoint: bytes | None = None
) -> None:
    """Write what the processes of a run read."""
    data.save(folder / DATA)
    (folder / CONFIG).write_text(json.dumps(config.to_dict()))
    if checkpoint is not None:
        (folder / CHECKPOINT).write_bytes(checkpoint)


class _Processes:
    """The running processes of one training; leaving the context ends what is left of them."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self._pids: dict[int, int] = {}
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._ended = False

    def __enter__(self) -> "_Processes":
        threads = max(1, len(os.sched_getaffinity(0)) // self.count)
        root = str(Path(__file__).resolve().parents[3])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {"OMP_NUM_THREADS": str(threads), WATCH: "1", "PYTHONPATH": path}
        with (self.folder / "log").open("wb") as log:
            self._torchrun = subprocess.Popen(
                [
                    sys.executable, "-m", "torch.distributed.run", "--nnodes", "1",
                    "--nproc-per-node", str(self.count), "--rdzv-backend", "c10d",
                    "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1",
                    "-m", "ml.hgt.training.distributed", str(self.folder),
                ],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                env=os.environ | environment, start_new_session=True,
            )  # fmt: skip
        threading.Thread(target=self._read, daemon=True, name="training-output").start()
        return self

    def next(self, should_stop: Callable[[], bool] | None) -> Progress | None:
        """The next epoch, or None when all is done.

        Raises:
            Stopped: if ``should_stop`` says so.
            ProcessLost, ValueError: if the processes failed.
        """
        while True:
            if should_stop is not None and should_stop():
                raise Stopped("training was stopped")
            with suppress(queue.Empty):
                message = self._lines.get(timeout=POLL_SECONDS)
                if message is None:
                    self._ended = True
                    self._check_outcome()
                    return None
                if "pid" in message:
                    self._pids[message["rank"]] = message["pid"]
                else:
                    return Progress(**message)
            if self._torchrun.poll() is not None and not self._ended:
                self._close_input()

    def stop(self) -> None:
        """Have them stop after the step they are at and leave a checkpoint, if there is time."""
        assert self._torchrun.stdin is not None
        with suppress(BrokenPipeError):
            self._torchrun.stdin.write(b"stop\n")
            self._torchrun.stdin.flush()
        self._wait(STOP_SECONDS)

    def __exit__(self, *error: object) -> None:
        """End the processes and wait until they are gone."""
        self._close_input()
        self._wait(PATIENCE_SECONDS)
        if self._torchrun.poll() is None and not self._ended:
            self._torchrun.kill()
        for pid in self._pids.values() if not self._ended else ():
            with suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)
        self._torchrun.wait()

    def _wait(self, seconds: float) -> None:
        """Until all have ended."""
        deadline = time.monotonic() + seconds
        while not self._ended and time.monotonic() < deadline:
            with suppress(queue.Empty):
                message = self._lines.get(timeout=POLL_SECONDS)
                self._ended = message is None
                if message is not None and "pid" in message:
                    self._pids[message["rank"]] = message["pid"]

    def _check_outcome(self) -> None:
        """What became of processes that have ended. Raises: as ``next``."""
        code = self._torchrun.wait()
        if code == 0:
            return
        errors = [json.loads(path.read_text()) for path in self.folder.glob("error-*.json")]
        for error in errors:
            if error["type"] == "ValueError":
                raise ValueError(error["message"])
            if error["type"] != ProcessLost.__name__:
                raise RuntimeError(
                    f"training process {error['rank']} failed: {error['type']}: "
                    f"{error['message']}\n{error['traceback']}"
                )
        log = (self.folder / "log").read_text(errors="replace")
        signals = re.findall(r"Signal \d+ \(\w+\)", log)
        if not (errors or signals or code < 0):
            raise RuntimeError(f"the training processes did not start:\n{log[-4000:]}")
        by = f" by {signals[0]}" if signals else ""
        raise ProcessLost(
            f"one of {self.count} training processes was killed{by}: look at the memory of this "
            "machine"
        )

    def _close_input(self) -> None:
        assert self._torchrun.stdin is not None
        self._torchrun.stdin.close()

    def _read(self) -> None:
        assert self._torchrun.stdout is not None
        for line in self._torchrun.stdout:
            text = line.decode(errors="replace")
            if text.startswith(PREFIX):
                self._lines.put(json.loads(text.removeprefix(PREFIX)))
        self._lines.put(None)


# What runs in each process


def main(folder: Path) -> None:
    """One process of a run, started by torchrun."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if os.environ.get(WATCH):
        threading.Thread(target=_end_with_parent, daemon=True, name="parent").start()
    _send({"rank": rank, "pid": os.getpid()})
    try:
        _train(folder, rank, size)
    except Stopped:
        distributed.destroy_process_group()
    except Exception as error:
        about = {"rank": rank, "type": type(error).__name__, "message": str(error)}
        about["traceback"] = traceback.format_exc()[-4000:]
        (folder / f"error-{rank}.json").write_text(json.dumps(about))
        raise


def _train(folder: Path, rank: int, size: int) -> None:
    fields = json.loads((folder / CONFIG).read_text())
    device = _device(fields["device"])
    config = TrainingConfig(**(fields | {"device": device}))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    path = folder / CHECKPOINT

    def save(content: bytes) -> None:
        part = path.with_suffix(".part")
        part.write_bytes(content)
        part.replace(path)

    train_on(
        TrainingData.open(folder / DATA),
        config,
        checkpoint=path.read_bytes() if path.exists() else None,
        on_progress=(lambda progress: _send(asdict(progress))) if rank == 0 else None,
        save_checkpoint=save if rank == 0 else None,
        should_stop=_stop_requested.is_set,
        group=Group(rank, size),
    )
    distributed.barrier()
    distributed.destroy_process_group()


def _device(device: str) -> str:
    """The device of this process; each has a GPU of its own.

    Raises:
        ValueError: if there are more processes than GPUs.
    """
    if not device.startswith("cuda"):
        return device
    local, here = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if int(os.environ["LOCAL_WORLD_SIZE"]) > here:
        raise ValueError(
            f"{os.environ['LOCAL_WORLD_SIZE']} processes and {here} GPUs on this machine: choose "
            f"at most {here} processes"
        )
    torch.cuda.set_device(local)
    return f"cuda:{local}"


def _send(content: dict[str, Any]) -> None:
    """Write a line in one piece, as other processes write to the same pipe."""
    os.write(1, (PREFIX + json.dumps(content) + "\n").encode())


_stop_requested = threading.Event()


def _end_with_parent() -> None:
    """Hear a word to stop, which one process of all gets; end this process when the parent has
    closed the pipe, which its death does too."""
    while os.read(0, 1024):
        _stop_requested.set()
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
