"""The short form of the proof (``make chaos`` is the long one): a case of it a test.

It runs in a process and with servers of its own, because it kills and restarts them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(3600)
REPOSITORY = Path(__file__).resolve().parent.parent.parent
CASES = ("frozen", "broker", "database", "store", "versions", "kills", "soak")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each case gave."""
    path = tmp_path_factory.mktemp("chaos") / "results.json"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("UPS_")}
    clean.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--short", "--results", str(path)],
        cwd=REPOSITORY,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert path.is_file(), done.stdout + done.stderr
    return json.loads(path.read_text())


@pytest.mark.parametrize("case", CASES)
def test_case(results: dict[str, Any], case: str) -> None:
    assert results[case]["held"], results[case].get("error", results[case])


def test_nothing_is_lost_doubled_or_stuck(results: dict[str, Any]) -> None:
    soak = results["soak"]
    assert (soak["lost"], soak["doubled"], soak["stuck"]) == (0, 0, 0)
    assert soak["kills"]
    assert soak["restarts"]
