"""What a running system occupies: connections, processes, memory, folders."""

from dataclasses import asdict, dataclass

import psutil
import redis
from django.db import connection

from tests.chaos.system import System

MIB = 2**20


@dataclass(frozen=True)
class Footprint:
    """At one moment, with nothing to do.

    Args:
        database: Connections to PostgreSQL, without the tests' own.
        broker: Connections to the broker.
        processes: Of the system, servers apart.
        strays: Of those the ones that no kept process has started.
        memory: MiB of the processes, resident.
        folders: Temporary folders of runs.
    """

    database: int
    broker: int
    processes: int
    strays: int
    memory: int
    folders: int

    def grown(self, before: "Footprint") -> dict[str, tuple[int, int]]:
        """What is more than before, beyond what differs between two moments anyway."""
        slack = {"memory": before.memory // 4, "database": 2, "broker": 4}
        pairs = {name: (old, asdict(self)[name]) for name, old in asdict(before).items()}
        return {
            name: pair for name, pair in pairs.items() if pair[1] > pair[0] + slack.get(name, 0)
        }


def footprint(system: System) -> Footprint:
    trees = [one for process in system.processes.values() for one in process.tree()]
    known = {one.pid for one in trees}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'ups' AND pid <> pg_backend_pid()"
        )
        (database,) = cursor.fetchone()
    with redis.Redis.from_url(system.urls["UPS_BROKER_URL"]) as client:
        broker = len(client.client_list()) - 1
    return Footprint(
        database=database,
        broker=broker,
        processes=len(trees),
        strays=sum(one.pid not in known for one in of_system(system)),
        memory=sum(resident(one) for one in trees) // MIB,
        folders=len(list((system.folder / "temporary").glob("ups-run-*"))),
    )


def of_system(system: System) -> list[psutil.Process]:
    """Every process that was started with this system's markers, whoever its parent is."""
    found = []
    for one in psutil.process_iter():
        try:
            if one.environ().get("CHAOS_DIR") == str(system.markers.folder):
                found.append(one)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def resident(one: psutil.Process) -> int:
    try:
        return int(one.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
