"""The proof that nothing is lost and nothing done twice: ``python -m tests.chaos``.

Prints one line of JSON; the exit status is 0 only if every case held.
"""

import argparse
import importlib
import json
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.chaos.system import running

CASES = ("frozen", "broker", "database", "store", "versions", "kills", "soak")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="the form that fits into CI")
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES, metavar="CASE")
    parser.add_argument("--results", type=Path, help="file for what each case gave, as JSON")
    parser.add_argument("--logs", type=Path, help="folder for the logs of all processes")
    told = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    results: dict[str, Any] = {}
    with running(short=told.short, logs=told.logs) as system:
        system.relay()
        for name in ("one", "two"):
            system.worker(name, CHAOS_LOAD="1")
        for name in told.only:
            results[name] = run(name, system)
    if told.results:
        told.results.write_text(json.dumps(results))
    print(json.dumps(line(results)))
    return int(not all(result["held"] for result in results.values()))


def line(results: dict[str, Any]) -> dict[str, Any]:
    """What is printed: the counts of the soak, and of every case whether it held."""
    soak = results.get("soak", {})
    names = ("tasks", "kills", "restarts", "lost", "doubled", "stuck", "seconds_to_recover")
    counts = {name: soak[name] for name in names if name in soak}
    held = {name: result["held"] for name, result in results.items()}
    return counts | {"held": held, "seconds": round(sum(r["seconds"] for r in results.values()), 1)}


def run(name: str, system: Any) -> dict[str, Any]:
    """One case: what it gave and how long it took, or why it does not hold."""
    begin = time.monotonic()
    try:
        gave = importlib.import_module(f"tests.chaos.cases.{name}").case(system)
        result = {"held": True, **gave}
    except Exception:
        result = {"held": False, "error": traceback.format_exc()}
        print(result["error"], file=sys.stderr)
    finally:
        system.calm()
    result["seconds"] = round(time.monotonic() - begin, 1)
    print(f"{name}: {'held' if result['held'] else 'DOES NOT HOLD'}, {result['seconds']} s",
          file=sys.stderr)  # fmt: skip
    return result


if __name__ == "__main__":
    sys.exit(main())
