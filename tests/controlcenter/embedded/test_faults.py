"""kill -9 of the servers and of their supervisor loses nothing and needs no hand."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
import redis

from controlcenter.embedded import children, locate
from controlcenter.embedded.state import State


class System:
    """Embedded servers of their own, driven by the command line."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("UPS_")}
        self.environment["UPS_DATA_DIR"] = str(data_dir)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "controlcenter.embedded", *words],
            cwd=locate.REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def up(self) -> None:
        started = self.run("servers-up")
        assert started.returncode == 0, started.stderr

    @property
    def state(self) -> State:
        return State.load(self.data_dir)

    def kill(self, *names: str) -> None:
        state = self.state
        records = [state.supervisor if n == "supervisor" else state.processes[n] for n in names]
        for record in records:
            children.send(record.identity, signal.SIGKILL)
        self.until(lambda: not any(children.alive(record.identity) for record in records))

    def count(self) -> tuple[int, int]:
        """Add one row and one key; how many there are now."""
        urls = locate.embedded_urls(self.data_dir)
        with psycopg.connect(urls["UPS_DATABASE_URL"], connect_timeout=2) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (at timestamptz DEFAULT now())")
            connection.execute("INSERT INTO kept DEFAULT VALUES")
            rows = connection.execute("SELECT count(*) FROM kept").fetchone()[0]
        with redis.Redis.from_url(urls["UPS_BROKER_URL"], socket_timeout=2) as broker:
            broker.set(f"kept-{rows}", "1")
            return rows, len(list(broker.scan_iter("kept-*")))

    def count_when_back(self) -> tuple[int, int]:
        def asked() -> bool:
            try:
                answers.append(self.count())
            except (psycopg.OperationalError, redis.RedisError):
                return False
            return True

        answers: list[tuple[int, int]] = []
        self.until(asked)
        return answers[0]

    def until(self, condition) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            log = (self.data_dir / "logs" / "supervisor.log").read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log
            time.sleep(0.05)


@pytest.fixture
def system():
    with tempfile.TemporaryDirectory(prefix="ups-faults-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL may run by an account that must pass through
        own = System(Path(folder) / "var")
        try:
            yield own
        finally:
            removed = own.run("remove")
            assert removed.returncode == 0, removed.stderr
            assert not own.data_dir.exists()


def test_what_was_written_survives_every_kill(system):
    system.up()
    assert system.count()[0] == 1
    before = system.state.processes

    system.kill("supervisor")
    system.up()
    assert system.state.processes == before, "the next supervisor adopts what runs"

    system.kill("postgres", "valkey", "seaweedfs")
    rows, keys = system.count_when_back()
    assert rows == 2
    assert keys >= 1

    system.kill("supervisor", "postgres")
    stale = system.data_dir / "postgres" / "postmaster.pid"
    assert stale.exists()
    bystander = subprocess.Popen(
        ["sleep", "600"],
        **({"user": "nobody"} if os.geteuid() == 0 else {}),
        cwd="/",
    )
    try:
        lines = stale.read_text(encoding="utf-8").split("\n")
        stale.write_text("\n".join([str(bystander.pid), *lines[1:]]), encoding="utf-8")
        system.up()
        assert system.count()[0] == 3, "another process with the old pid is in nobody's way"
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()

    system.kill("supervisor")
    assert system.run("down").returncode == 0
    assert system.state.processes == {}
    assert not any(children.alive(record.identity) for record in before.values())
    assert system.run("status").returncode == 1


def test_up_and_down_again_are_harmless(system):
    assert system.run("down").returncode == 0
    system.up()
    before = system.state
    system.up()
    assert system.state == before
    ports = before.ports
    assert system.run("down").returncode == 0
    assert system.run("down").returncode == 0
    system.up()
    assert system.state.ports == ports
    assert json.loads((system.data_dir / "secrets.json").read_text("utf-8"))
