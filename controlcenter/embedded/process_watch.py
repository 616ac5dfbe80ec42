"""Processes under watch: recorded as they start, adopted from an earlier watch, started again."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from controlcenter.embedded import children, logs
from controlcenter.embedded.children import Identity, Launch
from controlcenter.embedded.state import Recorded, State

log = logging.getLogger(__name__)
STEADY_SECONDS = 30.0  # who ran this long starts again without delay
FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 30.0


@dataclass(kw_only=True)
class Watched:
    """One process: how it was started, who it is, how often in a row it ended early."""

    launch: Launch
    identity: Identity
    since: float
    failures: int = 0
    due: float | None = None


class ProcessWatch:
    """The processes of one data directory.

    Args:
        relaunch: called before a process starts again; gives the command for it.
    """

    def __init__(
        self, *, data_dir: Path, state: State, relaunch: Callable[[Launch], Launch]
    ) -> None:
        self.data_dir = data_dir
        self.state = state
        self.relaunch = relaunch
        self.watched: dict[str, Watched] = {}

    def start(self, launch: Launch, *, failures: int = 0) -> None:
        """Start a process and watch it.

        Raises:
            OSError: if its command cannot be run.
        """
        pid = children.start(launch).pid
        # It may have ended already.
        identity = children.identify(pid) or Identity(pid=pid, started=0)
        self._keep(launch, identity, failures=failures)

    def adopt(self, launch: Launch) -> bool:
        """Watch what an earlier supervisor started under this name, if it still runs."""
        identity = self.running(launch.name)
        if identity is not None:
            self._keep(launch, identity)
        return identity is not None

    def running(self, name: str) -> Identity | None:
        """The recorded process of this name, if it still runs."""
        recorded = self.state.processes.get(name)
        return recorded.identity if recorded and children.alive(recorded.identity) else None

    def tick(self) -> None:
        """Start again what has ended, each with a growing delay of its own."""
        children.reap()
        for process in list(self.watched.values()):
            if not children.alive(process.identity):
                self._revive(process)
        logs.bound(self.data_dir / "logs")

    def stop(self, launches: Collection[Launch]) -> None:
        """Stop recorded processes together and forget them."""
        pairs = [
            (recorded.identity, launch)
            for launch in launches
            if (recorded := self.state.processes.get(launch.name))
        ]
        for name in children.stop(pairs):
            log.warning("%s did not stop in time and was killed", name)
        for _, launch in pairs:
            self.watched.pop(launch.name, None)
            del self.state.processes[launch.name]
        self.state.save(self.data_dir)

    def stop_strangers(
        self, *, keep: Mapping[str, str], grace_seconds: Mapping[str, float] | None = None
    ) -> None:
        """Stop recorded processes whose name is unknown or whose command has changed.

        Args:
            keep: fingerprint of the wanted command by name.
            grace_seconds: how long each may take to stop, by name; 10 s where not given.
        """
        grace = grace_seconds or {}
        strangers = [
            Launch(
                name=name,
                argv=(),
                cwd=self.data_dir,
                log=self.data_dir / "logs" / f"{name}.log",
                grace_seconds=grace.get(name, 10.0),
            )
            for name, recorded in reversed(self.state.processes.items())
            if keep.get(name) != recorded.command
        ]
        self.stop(strangers)

    def interrupt(self, names: Iterable[str]) -> None:
        """End processes so that they start again; they may finish what they do."""
        for name in names:
            if identity := self.running(name):
                children.send(identity, self.watched[name].launch.stop_signal)

    def _keep(self, launch: Launch, identity: Identity, *, failures: int = 0) -> None:
        self.watched[launch.name] = Watched(
            launch=launch, identity=identity, since=time.monotonic(), failures=failures
        )
        self.state.processes[launch.name] = Recorded(
            pid=identity.pid, started=identity.started, command=launch.fingerprint
        )
        self.state.save(self.data_dir)

    def _revive(self, process: Watched) -> None:
        now = time.monotonic()
        if process.due is None:
            children.kill(process.identity)  # what its session left behind
            self._delay(
                process, after=process.failures + 1 if now - process.since < STEADY_SECONDS else 0
            )
        elif now >= process.due:
            try:
                self.start(self.relaunch(process.launch), failures=process.failures)
            except (OSError, RuntimeError) as error:
                log.warning("%s cannot start: %s", process.launch.name, error)
                self._delay(process, after=process.failures + 1)

    def _delay(self, process: Watched, *, after: int) -> None:
        process.failures = after
        seconds = min(FIRST_DELAY_SECONDS * 2**after, LONGEST_DELAY_SECONDS) if after else 0.0
        process.due = time.monotonic() + seconds
        log.warning("%s does not run, starting it in %g s", process.launch.name, seconds)
