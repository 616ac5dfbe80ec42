"""Temporary folders of runs: the next run on a machine removes what a killed process left."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

from workers.runtime import processes

PREFIX = f"ups-run-{socket.gethostname()}-"
"""The machine's name, because containers may share a folder and do not know each other's pids."""


def for_run() -> tempfile.TemporaryDirectory[str]:
    """A folder for one run, removed when it ends, however it ends."""
    remove_abandoned()
    return tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-")


def remove_abandoned() -> None:
    """Remove the folders of processes that are gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not processes.exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)  # another process may be at it
