"""Folders of runs go with their run, or after the process that was killed in it."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from workers.runtime import folders


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_goes_with_its_run(temporary):
    with folders.for_run() as folder:
        assert Path(folder).is_dir()
        assert list(temporary.iterdir()) == [Path(folder)]
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_killed_process_goes_with_the_next_run(temporary):
    program = (
        "import pathlib, sys, time\n"
        "from workers.runtime import folders\n"
        "kept = folders.for_run()\n"
        "(pathlib.Path(kept.name) / 'file').write_text('x')\n"
        "print(kept.name, flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
        cwd=Path(folders.__file__).parents[2],
    )
    left = Path(process.stdout.readline().strip())
    with folders.for_run():
        assert left.is_dir(), "its process lives"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with folders.for_run() as mine:
        assert list(temporary.iterdir()) == [Path(mine)]


def test_what_is_not_of_a_run_here_stays(temporary):
    for name in ("ups-run-elsewhere-1-x", f"{folders.PREFIX}abc", "other"):
        (temporary / name).mkdir()
    folders.remove_abandoned()
    assert len(list(temporary.iterdir())) == 3
