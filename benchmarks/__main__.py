"""Run all benchmarks, or those named, each in a process of its own: ``python -m benchmarks``."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.harness import RESULTS, table
from benchmarks.machine import REPOSITORY

ALL = ("hgt", "training", "incremental", "explain", "rules", "ingest", "tasks")
OWN_DATA = {"protocols": "python -m benchmarks.protocols {ratings,messages} FILE"}
"""Benchmarks that need files of the reader's own, and how each is run."""


def main(asked: list[str]) -> int:
    """Run them and print one table.

    Returns:
        How many failed; 2, with nothing run, where a name is none that can be run from here. A
        ratio that was not reached is told in the table; it is no failure.
    """
    for name in asked:
        if name in OWN_DATA:
            told = f"{name} needs data of your own; run it by itself: {OWN_DATA[name]}"
            print(f"{told} (docs/models.md, On your own data)", file=sys.stderr)
            return 2
    unknown = sorted(set(asked) - set(ALL))
    if unknown:
        print(f"got {', '.join(unknown)}, expected some of {', '.join(ALL)}", file=sys.stderr)
        return 2
    rows, failed = [], []
    for name in asked or ALL:
        if find_spec(f"benchmarks.{name}") is None:
            failed.append(f"{name} (no such module)")
            continue
        print(f"{name} …", flush=True)
        path = RESULTS / f"{name}.json"
        before = changed(path)
        ended = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=REPOSITORY)
        if ended.returncode:
            failed.append(f"{name} (exit status {ended.returncode})")
        elif changed(path) == before:  # results are committed, so an earlier run's may be there
            failed.append(f"{name} (wrote no {path.name})")
        else:
            rows += json.loads(path.read_text())["rows"]
    print(f"\nAll that was measured:\n{table(rows)}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


def changed(path: Path) -> int | None:
    """When the file was written, in nanoseconds; None where there is none."""
    return path.stat().st_mtime_ns if path.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
