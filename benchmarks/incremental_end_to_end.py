"""From POST /events/ to the refreshed score in GET /users/{id}/, on the whole embedded system.

    python -m benchmarks.incremental_end_to_end --minutes 10 --users 100000 --rate 200

The system runs in a data directory of its own, which is removed in the end. Events are sent at a
steady rate in small batches; beside them, probes send one event each and read its user until the
score was made after the event came (``refreshed``), and until the answer says that nothing is stale
(``fresh``: that knows also what others did up to the read). In the end every event that was sent
must be in the counts. What is promised is in ``benchmarks.incremental_promise``. A smaller run, as
by ``--minutes 0.5 --users 2000``, only prints its rows.
"""

import argparse
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import urllib3

from benchmarks.harness import Row, run
from benchmarks.incremental_promise import (
    PROMISED_MINUTES,
    PROMISED_RATE,
    PROMISED_USERS,
    Found,
    as_promised,
    judged,
)
from benchmarks.machine import REPOSITORY
from controlcenter.embedded import locate
from controlcenter.operations.demo.client import DemoClient, RequestFailed

PASSWORD = "for this benchmark alone"
SLUG = "benchmark"
LOOP = "/operations/incremental/"
GIVE_UP, NEVER = 10.0, 60.0
"""Seconds after which a probe waits no more for a fresh answer, and for a refreshed score."""

WATCH_SECONDS, SETTLE_SECONDS = 5.0, 600.0
KINDS = {"call": "user", "order": "product", "click": "product", "use": "app"}
TROUBLE = (RequestFailed, urllib3.exceptions.HTTPError, psutil.Error)


class Tally:
    """What was sent and measured, told by several threads."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.lock = threading.Lock()

    def accept(self, receipt: dict[str, Any], *, streamed: bool = False) -> None:
        with self.lock:
            self.found.sent += receipt["accepted"]
            self.found.streamed += receipt["accepted"] if streamed else 0
            self.found.errors += [str(one) for one in receipt["rejected"][:1]]

    def tried(self, work: Callable[[], object]) -> None:
        """Do it; what fails is an error of the measurement, which goes on."""
        try:
            work()
        except TROUBLE as error:
            with self.lock:
                self.found.errors.append(f"{type(error).__name__}: {error}")


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


def signed_in(data_dir: Path) -> DemoClient:
    words = ("manage.py", "createworkspace", SLUG, "anna", "--name", "Benchmark")
    told = command(data_dir, *words, UPS_OWNER_PASSWORD=PASSWORD)
    found = re.search(r"\bups_\w+", told)
    if found is None:
        raise RuntimeError(f"createworkspace printed no token: {told}")
    return DemoClient(locate.addresses(data_dir)["web"], token=found[0], workspace=SLUG)


def prepare(client: DemoClient, *, users: int, events: int, products: int, apps: int) -> None:
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


def until(client: DemoClient, done: Any, seconds: float = 1200) -> dict[str, Any]:
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


def send(client: DemoClient, sizes: argparse.Namespace, end: float, tally: Tally) -> None:
    """Events at the rate, until the end. A late batch is sent at once: none is left out."""
    chance = random.Random(1)
    begin = due = time.monotonic()
    every = sizes.batch / sizes.rate
    while due < end:
        time.sleep(max(due - time.monotonic(), 0))
        due += every
        batch = [event(chance, sizes) for _ in range(sizes.batch)]
        tally.tried(partial(post, client, batch, tally))
    time.sleep(max(due - time.monotonic(), 0))  # the last batch has its time too
    tally.found.sending = time.monotonic() - begin


def post(client: DemoClient, batch: list[dict[str, Any]], tally: Tally) -> None:
    tally.accept(client.call("POST", "/events/", batch), streamed=True)


def probe(
    client: DemoClient, sizes: argparse.Namespace, end: float, tally: Tally, seed: int
) -> None:
    """One event, then reads of its user until the answer is fresh."""
    chance = random.Random(seed)
    while time.monotonic() < end:
        user = f"u{chance.randrange(1, sizes.users + 1):05d}"
        one = event(chance, sizes, actor=user)
        tally.tried(partial(follow, client, user, one, tally))
        time.sleep(sizes.pause)


def follow(client: DemoClient, user: str, one: dict[str, Any], tally: Tally) -> None:
    """Note how long it takes until a user's score knows an event; infinite if it never does."""
    begin = time.monotonic()
    tally.accept(client.call("POST", "/events/", one))
    came = datetime.now(UTC)
    refreshed = fresh = math.inf
    reads, spent, row = 0, 0.0, {"final_score": None}
    try:
        while math.isinf(fresh) and spent < (NEVER if math.isinf(refreshed) else GIVE_UP):
            row = client.call("GET", f"/users/{user}/")
            reads += 1
            spent = time.monotonic() - begin
            if row["stale_since"] is None:
                fresh = spent
            later = row["scored_at"] and datetime.fromisoformat(row["scored_at"]) >= came
            if math.isinf(refreshed) and (later or not math.isinf(fresh)):
                refreshed = spent
    finally:
        with tally.lock:
            tally.found.refreshed.append(refreshed)
            tally.found.fresh.append(fresh)
            tally.found.first_reads_fresh += reads == 1 and not math.isinf(fresh)
            if row["final_score"] is None:
                tally.found.errors.append(f"{user} has no score")


def watch(client: DemoClient, end: float, tally: Tally, loop: psutil.Process) -> None:
    """The loop's state and the bytes of its process, now and then."""
    while time.monotonic() < end:
        tally.tried(lambda: tally.found.memory.append(loop.memory_info().rss))
        tally.tried(lambda: tally.found.states.append(client.call("GET", LOOP)))
        time.sleep(WATCH_SECONDS)


def counted(client: DemoClient) -> tuple[int, int]:
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


def owner(data_dir: Path) -> psutil.Process:
    """The worker that has the loop: one process with threads."""
    told = command(data_dir, "-m", "controlcenter.embedded", "status")
    line = next(one for one in told.splitlines() if one.startswith("worker-incremental "))
    return psutil.Process(int(line.split()[-1]))


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def measured(data_dir: Path, sizes: argparse.Namespace) -> Found:
    client = signed_in(data_dir)
    prepare(
        client, users=sizes.users, events=sizes.users * 20, products=sizes.products, apps=sizes.apps
    )
    before, _ = counted(client)
    found = Found(users=sizes.users, minutes=sizes.minutes, rate=sizes.rate)
    under_load(client, sizes, Tally(found), owner(data_dir))
    say("all sent")
    found.end = settled(client, found)
    after, found.stale = counted(client)
    found.counted = after - before
    return found


def under_load(
    client: DemoClient, sizes: argparse.Namespace, tally: Tally, loop: psutil.Process
) -> None:
    """Send, probe and watch, each in threads of its own, until the time is over."""
    end = time.monotonic() + sizes.minutes * 60
    threads = [
        threading.Thread(target=send, args=(client, sizes, end, tally)),
        threading.Thread(target=watch, args=(client, end, tally, loop)),
        *(
            threading.Thread(target=probe, args=(client, sizes, end, tally, seed))
            for seed in range(2, 2 + sizes.probes)
        ),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def settled(client: DemoClient, found: Found) -> dict[str, Any]:
    """The loop's state once it has taken all; one that never does is an error, and told too."""
    try:
        return until(client, lambda state: state["lag_events"] == 0, seconds=SETTLE_SECONDS)
    except RuntimeError as error:
        found.errors.append(str(error))
        state: dict[str, Any] = client.call("GET", LOOP)
        return state


def rows(sizes: argparse.Namespace) -> list[Row]:
    with system() as data_dir:
        return judged(measured(data_dir, sizes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=PROMISED_MINUTES)
    parser.add_argument("--users", type=int, default=PROMISED_USERS)
    parser.add_argument("--products", type=int, default=2_000)
    parser.add_argument("--apps", type=int, default=500)
    parser.add_argument("--rate", type=float, default=PROMISED_RATE, help="events a second")
    parser.add_argument("--batch", type=int, default=10, help="events a request")
    parser.add_argument("--probes", type=int, default=2, help="readers at a time")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two probes")
    sizes = parser.parse_args()
    whole = as_promised(users=sizes.users, minutes=sizes.minutes, rate=sizes.rate)
    run(lambda: rows(sizes), "incremental_end_to_end", keep=whole)


if __name__ == "__main__":
    main()
