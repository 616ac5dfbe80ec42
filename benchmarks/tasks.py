"""What the task machinery itself costs, beside Prefect: stages that do nothing, on real processes.

    python -m benchmarks.tasks [--tasks 2000] [--rounds 3]

Ours is the whole system on durable servers: every task comes by ``POST /tasks/``, its three stages
pass outbox, relay, broker and two workers, and each is claimed, leased and committed as always. The
peer runs flows of three tasks in two processes that call them, against Prefect's server on SQLite;
neither a queue nor a worker of Prefect's stands in between, which would cost it more.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks import prefect_peer
from benchmarks.harness import Row, Sample, report
from benchmarks.servers import servers
from benchmarks.system import system
from controlcenter.embedded import locate
from controlcenter.operations.demo.client import DemoClient

WORKSPACES, WORKERS, CLIENTS = 100, 2, 1
STAGES = 3
STARTS, WARMUP, PAUSE = 60, 10, 0.2
PASSING_SECONDS = 900.0
REQUIRED_START, REQUIRED_RATE, REQUIRED_RATIO = 0.1, 50.0, 5.0


@dataclass(frozen=True)
class Place:
    """A workspace with a dataset that tasks may use, and a client of it."""

    client: DemoClient
    dataset: str

    def post(self) -> UUID:
        """Create a task that starts at once; its id."""
        task = self.client.call("POST", "/tasks/", {"workflow": "refresh", "dataset": self.dataset})
        return UUID(task["id"])


def places(address: str, count: int) -> list[Place]:
    """Workspaces of one account. Datasets are rows alone: no stage reads them."""
    from controlcenter.modelling.datasets.models import Dataset, DatasetState
    from controlcenter.platform.accounts.models import Account
    from controlcenter.platform.accounts.services import create_workspace, issue_token

    owner = Account.objects.create_user("benchmark", password="for this benchmark alone")
    made = []
    for number in range(count):
        workspace = create_workspace(slug=f"w{number}", name=f"w{number}", owner=owner)
        dataset = Dataset.objects.create(
            workspace=workspace, name="nothing", filename="-", state=DatasetState.READY
        )
        made.append((workspace.slug, str(dataset.pk)))
    _, token = issue_token(account=owner, name="benchmark")
    return [
        Place(DemoClient(address, token=token, workspace=slug), dataset) for slug, dataset in made
    ]


def unfinished() -> int:
    from controlcenter.modelling.tasks import states
    from controlcenter.modelling.tasks.models import Task

    return Task.objects.filter(state__in=states.INCOMPLETE).count()


def wait_until_passed() -> None:
    """Raises: RuntimeError if tasks are still there after ``PASSING_SECONDS``."""
    deadline = time.monotonic() + PASSING_SECONDS
    while left := unfinished():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{left} tasks did not end in {PASSING_SECONDS:g} s")
        time.sleep(0.05 if left < 50 else 0.5)


def seconds_to_start(place: Place) -> float:
    """From before the request to the first line of the first stage, nothing else going on."""
    from controlcenter.platform.runs.models import Run

    begin = time.time()
    task = place.post()
    wait_until_passed()
    time.sleep(PAUSE)
    first = Run.objects.filter(owner_id=task).earliest("created_at")
    return float(first.metrics["began"]) - begin


def rate_of(found: Sequence[Place], count: int) -> float:
    """Stages a second, from the first request to the end of the last task."""
    begin = time.time()
    with ThreadPoolExecutor(CLIENTS) as pool:
        tasks = list(pool.map(lambda n: found[n % len(found)].post(), range(count)))
    wait_until_passed()
    return STAGES * count / (checked_end(tasks) - begin)


def checked_end(tasks: Sequence[UUID]) -> float:
    """When the last task ended, in seconds since 1970.

    Raises:
        RuntimeError: if a task is not completed, or a stage was not done exactly once.
    """
    from django.db.models import Max

    from controlcenter.modelling.tasks.models import Task
    from controlcenter.platform.runs.models import Run, RunStatus

    completed = Task.objects.filter(pk__in=tasks, state="completed")
    runs = Run.objects.filter(owner_id__in=tasks)
    got = (completed.count(), runs.filter(status=RunStatus.DONE).count(), runs.count())
    expected = (len(tasks), STAGES * len(tasks), STAGES * len(tasks))
    if got != expected:
        raise RuntimeError(f"got (completed tasks, done runs, runs) {got}, expected {expected}")
    end: Any = completed.aggregate(end=Max("finished_at"))["end"]
    return float(end.timestamp())


def rows(kept: Path, asked: argparse.Namespace) -> list[Row]:
    """Needs ``servers``.

    Args:
        kept: Where Prefect is installed and stays.
    """
    peer, problem = prefect_peer.installed(kept)
    with system(workers=WORKERS, application="benchmarks.noop") as address:
        found = places(address, WORKSPACES)
        starts = [seconds_to_start(found[n % len(found)]) for n in range(WARMUP + STARTS)][WARMUP:]
        rate_of(found, 100)
        ours, theirs = [], []
        for _ in range(asked.rounds):
            ours.append(rate_of(found, asked.tasks))
            if peer is not None:
                theirs.append(peer.rate(asked.flows))
    cuts = statistics.quantiles(starts, n=100, method="inclusive")
    start = Row(
        what="from POST /tasks/ to the first stage",
        size="idle system",
        ours=Sample.of(starts),
        peer=REQUIRED_START,
        peer_name="limit",
        required=1,
        notes=f"p95 {cuts[94] * 1e3:.0f} ms, p99 {cuts[98] * 1e3:.0f} ms",
    )
    rate = Row(
        what="stages that do nothing",
        size=f"{asked.tasks:,} tasks of {STAGES} stages, {WORKSPACES} workspaces",
        ours=Sample.of(ours),
        peer=REQUIRED_RATE,
        peer_name="limit",
        unit="a second",
        better="higher",
        required=1,
        threads=WORKERS,
        notes=f"{WORKERS} workers of one process; posting the tasks is in the time",
    )
    if not theirs:
        beside = replace(rate, peer=None, peer_name="Prefect", required=None, notes=problem)
    else:
        beside = replace(
            rate,
            peer=Sample.of(theirs),
            peer_name="Prefect",
            required=REQUIRED_RATIO,
            notes=f"Prefect: {asked.flows} flows of {STAGES} tasks in each of "
            f"{prefect_peer.PROCESSES} processes",
        )
    return [start, rate, beside]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--tasks", type=int, default=2000, help="a round")
    parser.add_argument("--flows", type=int, default=30, help="of Prefect a round and process")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    kept = locate.data_dir() / "benchmarks" / "prefect"
    with servers(durable=True):
        measured = rows(kept, asked)
    report(measured, "tasks", versions=prefect_peer.versions(kept))


if __name__ == "__main__":
    main()
