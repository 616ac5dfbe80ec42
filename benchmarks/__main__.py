"""Run all benchmarks, or those named, each in a process of its own: ``python -m benchmarks``."""

import json
import subprocess
import sys
from importlib.util import find_spec

from benchmarks.harness import RESULTS, table
from benchmarks.machine import REPOSITORY

ALL = ("hgt", "training", "incremental", "explain", "rules", "ingest", "tasks", "protocols")


def main(asked: list[str]) -> int:
    """Run them and print one table.

    Returns:
        How many failed. A ratio that was not reached is told in the table; it is no failure.
    """
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
        ended = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=REPOSITORY)
        if ended.returncode:
            failed.append(f"{name} (exit status {ended.returncode})")
        else:
            rows += json.loads((RESULTS / f"{name}.json").read_text())["rows"]
    print(f"\nAll that was measured:\n{table(rows)}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
