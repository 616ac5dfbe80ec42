"""Processes that outlive whoever started them: start, recognise, stop.

A process is recognised by its pid together with its start time, so that a reused pid is never
taken for it. Each one leads a session of its own, by which whatever it leaves behind is found.
"""

import hashlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

KILLED_SECONDS = 10.0
"""How long a process may take to be gone after SIGKILL."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to start one process and how to stop it."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    account: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 10.0

    @property
    def fingerprint(self) -> str:
        """Hash of everything that makes this command what it is."""
        parts = [*self.argv, str(self.cwd), *map(str, sorted(self.environment.items()))]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One process for ever: its pid and its start time in clock ticks since boot."""

    pid: int
    started: int


@dataclass(frozen=True, kw_only=True)
class _Stat:
    state: str
    session: int
    started: int


def start(launch: Launch) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, its output appended to its log.

    Raises:
        OSError: if the command cannot be run, or not as the wanted account.
    """
    launch.log.parent.mkdir(parents=True, exist_ok=True)
    with launch.log.open("ab") as log:
        return subprocess.Popen(
            launch.argv,
            cwd=launch.cwd,
            env={**os.environ, **launch.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=launch.account,
            group=group_of(launch.account),
            extra_groups=[] if launch.account else None,
        )


def group_of(account: str | None) -> int | None:
    """The primary group of an account."""
    return pwd.getpwnam(account).pw_gid if account else None


def identify(pid: int) -> Identity | None:
    """The process that has this pid now; None if there is none."""
    stat = _stat(pid)
    return Identity(pid=pid, started=stat.started) if stat and stat.state not in "ZX" else None


def alive(identity: Identity) -> bool:
    """Whether this very process still runs; a zombie does not."""
    return identify(identity.pid) == identity


def left_behind(identity: Identity) -> list[int]:
    """Pids of the session that this process led, itself excluded."""
    leader = _stat(identity.pid)
    if leader and leader.started != identity.started:
        return []  # the pid was reused, which it can only be once the session is empty
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != identity.pid:
            stat = _stat(int(entry.name))
            if stat and stat.session == identity.pid and stat.state not in "ZX":
                pids.append(int(entry.name))
    return pids


def stop(stopping: Sequence[tuple[Identity, Launch]]) -> list[str]:
    """Stop processes together: the stop signal, a grace period, then SIGKILL.

    Returns:
        Names of those that had to be killed.
    """
    for identity, launch in stopping:
        send(identity, launch.stop_signal)
    began = time.monotonic()
    killed = []
    for identity, launch in stopping:
        wait_for_end(identity, until=began + launch.grace_seconds)
        if alive(identity):
            killed.append(launch.name)
        kill(identity)
    ended_by = time.monotonic() + KILLED_SECONDS
    for identity, _ in stopping:
        wait_for_end(identity, until=ended_by)
    reap()
    return killed


def wait_for_end(identity: Identity, *, until: float) -> None:
    """Until the process is gone, or ``until`` on the monotonic clock: SIGKILL takes a moment."""
    while alive(identity) and time.monotonic() < until:
        reap()
        time.sleep(0.02)


def send(identity: Identity, number: signal.Signals) -> None:
    """Send a signal to this very process, if it still runs."""
    if alive(identity):
        _send(identity.pid, number)


def kill(identity: Identity) -> None:
    """SIGKILL this process, if it still runs, and whatever its session left behind."""
    send(identity, signal.SIGKILL)
    for pid in left_behind(identity):
        _send(pid, signal.SIGKILL)


def reap() -> None:
    """Collect the exit status of children that ended, so that none stays a zombie."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return _Stat(state=fields[0], session=int(fields[3]), started=int(fields[19]))
