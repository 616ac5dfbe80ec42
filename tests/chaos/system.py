"""A running system for the chaos: real servers behind proxies, real workers, and who restarts them.

Workers and relay reach every server through a proxy of its own; the tests themselves do not.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from controlcenter.embedded import children, locate
from controlcenter.embedded.state import State
from tests.chaos.markers import Markers
from tests.chaos.proxy import Proxy

LEASE_SECONDS = 8
"""Many heartbeats: one that comes late on a busy machine must cost no attempt."""

PR_SET_PDEATHSIG = 1
QUEUES = "refresh,control,ingest"
SERVERS = {"database": "postgres", "broker": "valkey", "store": "seaweedfs"}
URLS = {
    "database": "UPS_DATABASE_URL",
    "broker": "UPS_BROKER_URL",
    "store": "UPS_OBJECT_STORE_URL",
}
WORKER = (sys.executable, "-m", "celery", "-A", "tests.chaos.worker", "worker", "-l", "INFO")
RELAY = (sys.executable, "-m", "tests.chaos.relay")


class Process:
    """One process of the system, started again whenever it ends, until it is told to stop."""

    def __init__(self, name: str, argv: tuple[str, ...], env: dict[str, str], log: Path) -> None:
        self.name, self.argv, self.env, self.log = name, argv, env, log
        self.wanted = True
        self.starts = 0
        self.running: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        self.starts += 1
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                self.argv,
                cwd=locate.REPOSITORY,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def tick(self) -> None:
        """Start it again if it ended."""
        if self.wanted and self.running.poll() is not None:
            self.kill()  # what it left behind
            self.start()

    def tree(self) -> list[psutil.Process]:
        """It and everything it started; empty if it is gone."""
        try:
            own = psutil.Process(self.running.pid)
            return [own, *own.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def send(self, number: signal.Signals) -> None:
        """A signal to it and everything it started."""
        for one in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to its whole session, as when a machine is lost."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.running.pid, signal.SIGKILL)

    def stop(self, seconds: float = 20.0) -> None:
        """SIGTERM, and SIGKILL after a grace period."""
        self.wanted = False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.running.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.running.wait(seconds)
        self.kill()
        self.running.wait()


class System:
    """Servers, proxies, processes and the folder of markers."""

    def __init__(self, folder: Path, *, short: bool) -> None:
        self.folder = folder
        self.short = short
        self.processes: dict[str, Process] = {}
        (folder / "markers").mkdir(mode=0o711)
        (folder / "temporary").mkdir()
        self.markers = Markers(folder / "markers")
        self.urls = locate.embedded_urls(folder)
        self.proxies = {
            name: Proxy(urlsplit(self.urls[setting]).port or 0) for name, setting in URLS.items()
        }
        threading.Thread(target=self._keep, daemon=True).start()

    def _keep(self) -> None:
        while True:
            for one in list(self.processes.values()):
                one.tick()
            time.sleep(0.1)

    def environment(self, **more: str) -> dict[str, str]:
        """What a process of the system gets: the servers behind their proxies."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("UPS_")}
        behind = {
            setting: self.urls[setting].replace(
                f":{urlsplit(self.urls[setting]).port}/", f":{self.proxies[name].port}/"
            )
            for name, setting in URLS.items()
        }
        return clean | behind | {
            "UPS_SECRET_KEY": "chaos",
            "UPS_DATA_DIR": str(self.folder),
            "UPS_LEASE_SECONDS": str(LEASE_SECONDS),
            "UPS_DEVICE": "cpu",
            "CHAOS_DIR": str(self.markers.folder),
            "CHAOS_UNCLAIMED_SECONDS": "3",
            "TMPDIR": str(self.folder / "temporary"),
            "OMP_WAIT_POLICY": "PASSIVE",
            "OMP_NUM_THREADS": "1",
            "POLARS_MAX_THREADS": "1",
            "DJANGO_SETTINGS_MODULE": "controlcenter.settings",
        } | more  # fmt: skip

    def run(self, name: str, argv: tuple[str, ...], **more: str) -> Process:
        """Start a process and keep it running."""
        log = self.folder / "logs" / f"{name}.log"
        made = Process(name, argv, self.environment(**more), log)
        self.processes[name] = made
        return made

    def relay(self, name: str = "relay", **more: str) -> Process:
        return self.run(name, RELAY, **more)

    def worker(self, name: str, *, queues: str = QUEUES, **more: str) -> Process:
        """A worker with one process of its pool, as in production."""
        argv = (*WORKER, "-Q", queues, "-c", "1", "-n", f"{name}@%h")
        return self.run(name, argv, **more)

    def stop(self, *names: str) -> None:
        """Stop processes, all at a time; without a name: every one."""
        chosen = [self.processes.pop(name) for name in names or list(self.processes)]
        for one in chosen:
            one.wanted = False
        stopping = [threading.Thread(target=one.stop) for one in chosen]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()

    def restart_server(self, name: str) -> None:
        """kill -9 of a server; its supervisor starts it again."""
        recorded = State.load(self.folder).processes[SERVERS[name]]
        children.kill(recorded.identity)
        until(
            lambda: State.load(self.folder).processes[SERVERS[name]] != recorded,
            f"{name} is started again",
        )

    def calm(self) -> None:
        """No fault from here on."""
        for proxy in self.proxies.values():
            proxy.calm()
        self.markers.tell("times", "1")

    def log_of(self, name: str) -> str:
        return (self.folder / "logs" / f"{name}.log").read_text(errors="replace")


def end_with_parent() -> None:
    """Ask the kernel for SIGKILL when the tests end, even if they were killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def until(condition: Callable[[], Any], what: str, seconds: float = 300.0) -> Any:
    """What the condition gives once it gives something; servers may be away meanwhile.

    Raises:
        AssertionError: if it takes longer than ``seconds``, which only a hang does.
    """
    from django.db import InterfaceError, OperationalError, connections

    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except (OperationalError, InterfaceError):
            connections.close_all()
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {seconds:g} s: {what}")
        time.sleep(0.05)


@contextmanager
def running(*, short: bool, logs: Path | None = None) -> Iterator[System]:
    """A system with its servers and tables; Django is set up on them, without the proxies.

    The servers of the short form go with this process, however it ends, and keep nothing over a
    kill but what the database has; those of the long form are as in production.

    Args:
        logs: Folder that gets the logs of all processes at the end.
    """
    folder = Path(tempfile.mkdtemp(prefix="ups-chaos-"))
    folder.chmod(0o711)  # PostgreSQL may run by an account that must pass through
    system = None
    try:
        for_me = ("--ephemeral-for", str(os.getpid())) if short else ()
        embedded("servers-up", *for_me, folder=folder)
        for name in [name for name in os.environ if name.startswith("UPS_")]:
            del os.environ[name]
        os.environ |= {
            **locate.embedded_urls(folder),
            "UPS_SECRET_KEY": "chaos",
            "UPS_DATA_DIR": str(folder),
            "UPS_LEASE_SECONDS": str(LEASE_SECONDS),
            "UPS_LOG_LEVEL": "WARNING",
            "DJANGO_SETTINGS_MODULE": "controlcenter.settings",
        }
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        system = System(folder, short=short)
        yield system
    finally:
        if system is not None:
            system.stop()
            if logs is not None:
                shutil.copytree(folder / "logs", logs, dirs_exist_ok=True)
        embedded("remove", folder=folder)
        shutil.rmtree(folder, ignore_errors=True)


def embedded(*words: str, folder: Path) -> None:
    """Run a command of the embedded servers.

    Raises:
        RuntimeError: if it fails, with what it said.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("UPS_")}
    done = subprocess.run(
        [sys.executable, "-m", "controlcenter.embedded", *words],
        cwd=locate.REPOSITORY,
        env={**clean, "UPS_DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"embedded {words[0]}: {done.stdout}{done.stderr}")
