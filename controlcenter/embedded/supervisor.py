"""Keeps the embedded servers and the application processes running.

One supervisor a data directory. What it starts outlives it: after a kill -9 the next one adopts
what still runs and starts what is missing.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from controlcenter.embedded import children, launches, locate, logs, postgres, processes
from controlcenter.embedded.children import Launch
from controlcenter.embedded.process_watch import ProcessWatch
from controlcenter.embedded.servers import Home, SeaweedFS, Server, Valkey
from controlcenter.embedded.state import Recorded, State, ensure_secrets

SERVERS: tuple[Server, ...] = (SeaweedFS(), Valkey(), postgres.PostgreSQL())
WEB_DEADLINE_SECONDS = 180.0
TICK_SECONDS = 0.25


class StartError(RuntimeError):
    """Something did not start; the message says what, and quotes its log."""


@contextmanager
def only_one(data_dir: Path) -> Iterator[bool]:
    """Hold the data directory's lock; gives False where a supervisor already has it."""
    with (data_dir / "supervisor.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


class Supervisor:
    """Starts, watches and stops everything of one data directory.

    Args:
        servers_only: start no application processes.
        ephemeral_for: pid of a process for whose life alone all of this exists; the servers then
            give up durability, and the data is removed at the end. For tests.
    """

    def __init__(
        self, *, data_dir: Path, servers_only: bool = False, ephemeral_for: int | None = None
    ) -> None:
        self.data_dir = data_dir
        self.ephemeral_for = ephemeral_for
        self.owner = children.identify(ephemeral_for) if ephemeral_for else None
        self.servers = {
            server.name: server for server in SERVERS if not os.environ.get(server.setting)
        }
        self.applications = () if servers_only else processes.local()
        self.secrets = ensure_secrets(data_dir)
        self.state = State.load(data_dir)
        self.state.mode = "servers" if servers_only else "all"
        self.watch = ProcessWatch(data_dir=data_dir, state=self.state, relaunch=self._relaunch)
        self.told_to_stop = False
        self.told_to_hand_over = False

    def run(self) -> None:
        """Start everything, watch it until told to stop, then stop it.

        Raises:
            RuntimeError: if something did not start; whatever did is stopped again.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "told_to_stop", True))
        signal.signal(signal.SIGUSR1, lambda *_: setattr(self, "told_to_hand_over", True))
        self._announce()
        try:
            self._start_servers()
            if self.applications:
                self._start_applications()
            self.state.ready = True
            self.state.save(self.data_dir)
            while not self._leaving():
                self.watch.tick()
                time.sleep(TICK_SECONDS)
        except Exception as error:
            self.state.error = str(error)
            raise
        finally:
            self._leave()

    def stop_everything(self) -> None:
        """Stop the application processes together, then the servers in reverse."""
        recorded = [server for server in SERVERS if server.name in self.state.processes]
        servers = [self._server_launch(server) for server in recorded]
        server_names = {launch.name for launch in servers}
        self.watch.stop_strangers(
            keep={n: r.command for n, r in self.state.processes.items() if n in server_names},
            grace_seconds={app.name: app.grace_seconds for app in processes.local()},
        )
        for launch in reversed(servers):
            self.watch.stop([launch])

    def launch_of(self, name: str) -> Launch:
        """How the process of this name is started and stopped."""
        for server in SERVERS:
            if server.name == name:
                return self._server_launch(server)
        for app in processes.local():
            if app.name == name:
                return self._application_launch(app)
        raise KeyError(name)

    def _announce(self) -> None:
        me = children.identify(os.getpid())
        assert me is not None
        self.state.supervisor = Recorded(pid=me.pid, started=me.started, command="")
        self.state.ready = False
        self.state.error = ""
        self.state.save(self.data_dir)

    def _leave(self) -> None:
        if not self.told_to_hand_over:
            self.stop_everything()
        self.state.ready = False
        self.state.supervisor = None
        self.state.save(self.data_dir)
        if self.ephemeral_for:
            postgres.remove(self.data_dir)
            shutil.rmtree(self.data_dir)

    def _leaving(self) -> bool:
        orphaned = self.ephemeral_for is not None and (
            self.owner is None or not children.alive(self.owner)
        )
        return self.told_to_stop or self.told_to_hand_over or orphaned

    def _start_servers(self) -> None:
        for server in self.servers.values():
            running = self.watch.running(server.name)
            if not (running and self.watch.adopt(self._server_launch(server))):
                launches.server_ports(server, ports=self.state.ports)
                server.prepare(self._home())
                self.watch.start(self._server_launch(server))
        for server in self.servers.values():
            self._await(server.name, partial(self._check, server))

    def _check(self, server: Server) -> None:
        server.check(self._home())

    def _start_applications(self) -> None:
        for name in launches.APPLICATION_PORTS:
            if self.watch.running(name) is None:
                launches.application_port(name, ports=self.state.ports)
        applications = [self._application_launch(app) for app in self.applications]
        servers = {n: r.command for n, r in self.state.processes.items() if n in self.servers}
        self.watch.stop_strangers(
            keep=servers | {launch.name: launch.fingerprint for launch in applications}
        )
        self._migrate()
        for launch in applications:
            if not self.watch.adopt(launch):
                self.watch.start(launch)
        self._await("web", self._ask_web, seconds=WEB_DEADLINE_SECONDS)

    def _migrate(self) -> None:
        launch = self._application_launch(processes.MIGRATION)
        with launch.log.open("wb") as output:
            status = subprocess.run(
                launch.argv,
                cwd=launch.cwd,
                env={**os.environ, **launch.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        if status:
            raise self._start_error(launch.name, f"ended with status {status}")

    def _ask_web(self) -> None:
        url = f"{locate.addresses(self.data_dir)['web']}/livez"
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 (our own address)
            return

    def _await(self, name: str, check: Callable[[], None], *, seconds: float = 60.0) -> None:
        """Wait until a check no longer raises, starting again what ends meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return check()
            except Exception as error:  # each client has its own way to say "not yet"
                problem = error
            if self._leaving():
                raise StartError(f"told to stop while {name} started")
            if time.monotonic() > deadline:
                raise self._start_error(name, f"did not answer in {seconds:g} s: {problem}")
            self.watch.tick()
            time.sleep(0.05)

    def _start_error(self, name: str, problem: str) -> StartError:
        log = self.data_dir / "logs" / f"{name}.log"
        return StartError(f"{name} {problem}\n{log} ends with:\n{logs.tail(log)}")

    def _relaunch(self, launch: Launch) -> Launch:
        server = self.servers.get(launch.name)
        if server is None:
            return launch
        if launches.server_ports(server, ports=self.state.ports):
            # The others know the old address only: they start again and read the new one.
            self.watch.interrupt(app.name for app in self.applications)
        server.prepare(self._home())
        return self._server_launch(server)

    def _server_launch(self, server: Server) -> Launch:
        return server.launch(self._home())

    def _application_launch(self, app: processes.Application) -> Launch:
        return launches.application(
            app, data_dir=self.data_dir, ports=self.state.ports, secrets=self.secrets
        )

    def _home(self) -> Home:
        return Home(
            data_dir=self.data_dir,
            secrets=self.secrets,
            ports=self.state.ports,
            durable=self.ephemeral_for is None,
        )
