"""From POST /events/ to the refreshed score in GET /users/{id}/, on the whole embedded system.

    python -m benchmarks.incremental_end_to_end --minutes 10 --users 100000 --rate 200

The system runs in a data directory of its own, which is removed in the end. Events are sent at a
steady rate in small batches; beside them, probes send one event each and read its user until the
score was made after the event came (``refreshed``), and until the answer says that nothing is stale
(``fresh``: that knows also what others did up to the read). In the end every event that was sent
must be in the counts.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.machine import REPOSITORY
from controlcenter.embedded import locate
from controlcenter.operations.demo.client import Client

PASSWORD = "for this benchmark alone"
SLUG = "benchmark"
LOOP = "/operations/incremental/"
GIVE_UP = 10.0
"""Seconds after which a probe does not wait for a fresh answer any more."""

KINDS = {"call": "user", "order": "product", "click": "product", "use": "app"}


@dataclass
class Tally:
    """What was sent and measured."""

    sent: int = 0
    refreshed: list[float] = field(default_factory=list)
    fresh: list[float] = field(default_factory=list)
    first_reads_fresh: int = 0
    states: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def system() -> Iterator[Path]:
    """The embedded system in a folder of its own."""
    data_dir = Path(tempfile.mkdtemp(prefix="ups-end-to-end-"))
    data_dir.chmod(0o711)
    try:
        command(data_dir, "-m", "controlcenter.embedded", "up")
        yield data_dir
    finally:
        command(data_dir, "-m", "controlcenter.embedded", "remove")
        shutil.rmtree(data_dir, ignore_errors=True)


def command(data_dir: Path, *words: str, **more: str) -> str:
    """Run Python in the repository, blind to settings of the surroundings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("UPS_")}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=REPOSITORY,
        env={**clean, "UPS_DATA_DIR": str(data_dir), **more},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-2000:]}"
        )
    return done.stdout


def signed_in(data_dir: Path) -> Client:
    words = ("manage.py", "createworkspace", SLUG, "anna", "--name", "Benchmark")
    told = command(data_dir, *words, UPS_OWNER_PASSWORD=PASSWORD)
    found = re.search(r"\bups_\w+", told)
    if found is None:
        raise RuntimeError(f"createworkspace printed no token: {told}")
    return Client(locate.addresses(data_dir)["web"], token=found[0], workspace=SLUG)


def prepare(client: Client, *, users: int, events: int, products: int, apps: int) -> None:
    """A refreshed workspace with its loop running. It is trained for a moment only."""
    sizes = {"users": users, "events": events, "products": products, "apps": apps}
    dataset = client.call("POST", "/datasets/synthesize/", sizes)
    dataset = client.wait_for_dataset(dataset["id"])
    if dataset["state"] != "ready":
        raise RuntimeError(f"the dataset is {dataset['state']}: {dataset['error']}")
    say(f"dataset ready: {dataset['rows']}")
    parameters: dict[str, Any] = {"epochs": 1, "fusion_epochs": 5}
    if users > 5_000:
        parameters |= {"scope": "sampled", "sample_ratio": max(0.01, 5_000 / users)}
    task = client.call("POST", "/tasks/", {"dataset": dataset["id"], "parameters": parameters})
    while (found := client.call("GET", f"/tasks/{task['id']}/"))["state"] not in {
        "completed",
        "failed",
        "cancelled",
    }:
        time.sleep(1)
    if found["state"] != "completed":
        raise RuntimeError(f"the task {found['state']}: {found['error']}")
    say("first refresh completed")
    client.call("POST", f"{LOOP}start/", {})
    until(client, lambda state: state["state"] == "running")
    say("the incremental refresh runs")


def until(client: Client, done: Any, seconds: float = 1200) -> dict[str, Any]:
    """The loop's state once it is as wished."""
    deadline = time.monotonic() + seconds
    while True:
        state: dict[str, Any] = client.call("GET", LOOP)
        if done(state):
            return state
        if state["state"] == "failed" or time.monotonic() > deadline:
            raise RuntimeError(f"the loop does not get there: {state}")
        time.sleep(0.5)


def event(chance: random.Random, sizes: argparse.Namespace, actor: str = "") -> dict[str, Any]:
    kind = chance.choice(sorted(KINDS))
    target = KINDS[kind]
    count = {"user": sizes.users, "product": sizes.products, "app": sizes.apps}[target]
    name = f"{target[0]}{chance.randrange(1, count + 1):05d}"
    return {
        "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "type": kind,
        "timestamp": datetime.now(UTC).isoformat(),
        "payload": {
            "actor": actor or f"u{chance.randrange(1, sizes.users + 1):05d}",
            "target": name,
            "target_type": target,
        },
    }


def send(client: Client, sizes: argparse.Namespace, end: float, tally: Tally) -> None:
    """Events at the rate, until the end. A late batch is sent at once: none is left out."""
    chance = random.Random(1)
    due, every = time.monotonic(), sizes.batch / sizes.rate
    while due < end:
        time.sleep(max(due - time.monotonic(), 0))
        due += every
        batch = [event(chance, sizes) for _ in range(sizes.batch)]
        receipt = client.call("POST", "/events/", batch)
        with tally.lock:
            tally.sent += receipt["accepted"]
            if receipt["rejected"]:
                tally.errors.append(str(receipt["rejected"][0]))


def probe(client: Client, sizes: argparse.Namespace, end: float, tally: Tally, seed: int) -> None:
    """One event, then reads of its user until the answer is fresh."""
    chance = random.Random(seed)
    while time.monotonic() < end:
        user = f"u{chance.randrange(1, sizes.users + 1):05d}"
        one = event(chance, sizes, actor=user)
        begin = time.monotonic()
        receipt = client.call("POST", "/events/", one)
        came = datetime.now(UTC)
        refreshed = fresh = None
        reads = 0
        while fresh is None and (refreshed is None or time.monotonic() - begin < GIVE_UP):
            row = client.call("GET", f"/users/{user}/")
            reads += 1
            spent = time.monotonic() - begin
            known = row["stale_since"] is None
            fresh = spent if known else None
            later = row["scored_at"] and datetime.fromisoformat(row["scored_at"]) >= came
            if refreshed is None and (known or later):
                refreshed = spent
        with tally.lock:
            tally.sent += receipt["accepted"]
            tally.refreshed.append(refreshed or 0.0)
            tally.fresh.append(GIVE_UP if fresh is None else fresh)
            tally.first_reads_fresh += known and reads == 1
            if row["final_score"] is None:
                tally.errors.append(f"{user} has no score")
        time.sleep(sizes.pause)


def watch(client: Client, end: float, tally: Tally) -> None:
    while time.monotonic() < end:
        tally.states.append(client.call("GET", LOOP))
        time.sleep(5)


def counted(client: Client) -> tuple[int, int]:
    """Events in the counts of all users, and users whose own events are not in their scores."""
    total = stale = page = 0
    while True:
        page += 1
        found = client.call("GET", "/users/", page=page, page_size=1000, ordering="user_id")
        for row in found["results"]:
            total += sum(row["event_counts"].values())
            stale += row["stale_since"] is not None
        if found["next"] is None:
            return total, stale


def memory(data_dir: Path) -> int:
    """Resident bytes of the worker that has the loop."""
    told = command(data_dir, "-m", "controlcenter.embedded", "status")
    line = next(one for one in told.splitlines() if one.startswith("worker-incremental "))
    return psutil.Process(int(line.split()[-1])).memory_info().rss


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def quantiles(values: list[float]) -> dict[str, float]:
    """Seconds."""
    cut = statistics.quantiles(values, n=100, method="inclusive")
    found = {"p50": cut[49], "p95": cut[94], "p99": cut[98], "max": max(values)}
    return {name: round(value, 3) for name, value in found.items()}


def measured(data_dir: Path, sizes: argparse.Namespace) -> dict[str, Any]:
    client = signed_in(data_dir)
    prepare(
        client, users=sizes.users, events=sizes.users * 20, products=sizes.products, apps=sizes.apps
    )
    before, _ = counted(client)
    memory_start = memory(data_dir)
    tally, end = Tally(), time.monotonic() + sizes.minutes * 60
    threads = [
        threading.Thread(target=send, args=(client, sizes, end, tally)),
        threading.Thread(target=watch, args=(client, end, tally)),
        *(
            threading.Thread(target=probe, args=(client, sizes, end, tally, seed))
            for seed in range(2, 2 + sizes.probes)
        ),
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.monotonic() - began
    say("all sent")
    memory_end = memory(data_dir)
    state = until(client, lambda state: not state["lag_events"])
    after, stale = counted(client)
    return {
        "users": sizes.users,
        "minutes": sizes.minutes,
        "events_sent": tally.sent,
        "events_per_second": round(tally.sent / spent, 1),
        "probes": len(tally.refreshed),
        "refreshed": quantiles(tally.refreshed),
        "fresh": quantiles(tally.fresh),
        "first_reads_fresh": tally.first_reads_fresh,
        "lost": tally.sent - (after - before),
        "not_consumed": tally.sent - state["events"],
        "users_not_fresh": stale,
        "memory_start": memory_start,
        "memory_end": memory_end,
        "edges_per_event": state["edges_per_event"],
        "audit_error": state["audit_error"],
        "backlog": tally.states[-1]["backlog"],
        "lag_seconds_max": max(one["lag_seconds"] or 0 for one in tally.states),
        "errors": tally.errors[:5],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--products", type=int, default=2_000)
    parser.add_argument("--apps", type=int, default=500)
    parser.add_argument("--rate", type=float, default=200, help="events a second")
    parser.add_argument("--batch", type=int, default=10, help="events a request")
    parser.add_argument("--probes", type=int, default=2, help="readers at a time")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two probes")
    sizes = parser.parse_args()
    with system() as data_dir:
        found = measured(data_dir, sizes)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
