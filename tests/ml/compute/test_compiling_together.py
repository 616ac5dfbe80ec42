"""Processes that compile at the same time, on a machine where nothing is compiled yet."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml

ROOT = Path(ml.__file__).resolve().parent.parent

KERNELS = """
import sys, time
from pathlib import Path
from ml.compute.compiling import kernel

def adds(constant):
    @kernel
    def add(x):
        return x + constant
    return add

own, count, folder = int(sys.argv[1]), int(sys.argv[2]), Path(__file__).parent
adds(-1)  # what takes long to load is loaded
(folder / f"ready-{own}").touch()
while len(list(folder.glob("ready-*"))) < count:
    time.sleep(0.001)
for constant in range(own, 40, count):
    adds(constant)(0)
print([constant for constant in range(40) if adds(constant)(0) != constant])
"""


def test_each_gets_the_machine_code_of_its_own_constants(tmp_path):
    script = tmp_path / "kernels.py"
    script.write_text(KERNELS)

    def run(own, count=4):
        command = [sys.executable, str(script), str(own), str(count)]
        done = subprocess.run(
            command,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == ["[]\n"] * 4
    assert run(0, 1) == "[]\n"
