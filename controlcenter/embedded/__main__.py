"""Command line of the embedded system: ``python -m controlcenter.embedded up``."""

import argparse
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from controlcenter.embedded import children, locate, logs, postgres
from controlcenter.embedded.state import State
from controlcenter.embedded.supervisor import Supervisor, only_one

DEADLINE_SECONDS = 300.0
ALREADY_RUNNING = 3
OPERATOR = "operator"
SECRETS = "secrets.json"
MAKE_ACCOUNT = (
    "  UPS_OWNER_PASSWORD='a long password' "
    ".venv/bin/python manage.py createworkspace acme anna --name 'Acme' --staff"
)
"""The demo makes the account of the operator; before it, or without it, there is none."""


def main() -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m controlcenter.embedded", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the servers and the application; return when it answers")
    servers = commands.add_parser("servers-up", help="start the servers alone")
    commands.add_parser("down", help="stop everything; the data stays")
    commands.add_parser("remove", help="stop everything and remove the data directory")
    commands.add_parser("status", help="what runs, since when, and where it answers")
    commands.add_parser("restart", help="restart one process").add_argument("name")
    supervise = commands.add_parser("supervise", help="stay in the foreground (up starts this)")
    supervise.add_argument("--servers-only", action="store_true")
    for command in (servers, supervise):
        command.add_argument(
            "--ephemeral-for",
            type=int,
            metavar="PID",
            help="stop and remove everything when this process has ended; for tests",
        )
    arguments = parser.parse_args()
    data_dir = locate.data_dir()
    does: dict[str, Callable[[], int]] = {
        "up": lambda: up(data_dir, servers_only=False),
        "servers-up": lambda: up(
            data_dir, servers_only=True, ephemeral_for=arguments.ephemeral_for
        ),
        "down": lambda: down(data_dir),
        "remove": lambda: remove(data_dir),
        "status": lambda: status(data_dir),
        "restart": lambda: restart(data_dir, arguments.name),
        "supervise": lambda: run_supervisor(
            data_dir,
            servers_only=arguments.servers_only,
            ephemeral_for=arguments.ephemeral_for,
        ),
    }
    try:
        return does[arguments.command]()
    except (OSError, RuntimeError) as error:
        if arguments.command == "supervise":
            raise
        print(error, file=sys.stderr)
        return 1


def run_supervisor(data_dir: Path, *, servers_only: bool, ephemeral_for: int | None) -> int:
    """Supervise in the foreground until told to stop."""
    (data_dir / "logs").mkdir(parents=True, exist_ok=True)
    with only_one(data_dir) as alone:
        if not alone:
            return ALREADY_RUNNING
        logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
        Supervisor(data_dir=data_dir, servers_only=servers_only, ephemeral_for=ephemeral_for).run()
    return 0


def up(data_dir: Path, *, servers_only: bool, ephemeral_for: int | None = None) -> int:
    """Start a supervisor unless one runs, and wait until everything answers."""
    (data_dir / "logs").mkdir(parents=True, exist_ok=True)
    state = State.load(data_dir)
    if supervised(state) and state.mode == "servers" and not servers_only:
        hand_over(data_dir)
    if not supervised(State.load(data_dir)):
        ended = launch(data_dir, servers_only=servers_only, ephemeral_for=ephemeral_for)
        if ended not in {None, ALREADY_RUNNING}:
            print(logs.tail(data_dir / "logs" / "supervisor.log"), file=sys.stderr)
            return 1
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        state = State.load(data_dir)
        if state.ready and supervised(state):
            if not servers_only:
                describe(data_dir)
            return 0
        if state.error and not supervised(state):
            print(state.error, file=sys.stderr)
            return 1
        time.sleep(0.05)
    print(f"nothing answered in {DEADLINE_SECONDS:g} s", file=sys.stderr)
    print(logs.tail(data_dir / "logs" / "supervisor.log"), file=sys.stderr)
    return 1


def launch(data_dir: Path, *, servers_only: bool, ephemeral_for: int | None) -> int | None:
    """Start a supervisor that outlives us and wait until it has announced itself.

    Returns:
        Its exit status if it ended at once.
    """
    words = ["supervise"]
    words += ["--servers-only"] if servers_only else []
    words += ["--ephemeral-for", str(ephemeral_for)] if ephemeral_for else []
    with (data_dir / "logs" / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "controlcenter.embedded", *words],
            cwd=locate.REPOSITORY,
            env={**os.environ, "UPS_DATA_DIR": str(data_dir)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while process.poll() is None and not supervised(State.load(data_dir)):
        time.sleep(0.05)
    return process.poll()


def supervised(state: State) -> bool:
    """Whether the supervisor that wrote this state still runs."""
    return state.supervisor is not None and children.alive(state.supervisor.identity)


def hand_over(data_dir: Path) -> None:
    """Let a supervisor go without stopping what it watches."""
    _tell_supervisor(data_dir, signal.SIGUSR1)


def down(data_dir: Path) -> int:
    """Stop everything in reverse order, also what a killed supervisor has left."""
    _tell_supervisor(data_dir, signal.SIGTERM)
    if not (data_dir / "state.json").exists():
        return 0
    with only_one(data_dir) as alone:
        if not alone:
            print("a supervisor that is not in the state file holds the lock", file=sys.stderr)
            return 1
        Supervisor(data_dir=data_dir).stop_everything()
    return 0


def remove(data_dir: Path) -> int:
    """Stop everything and remove its data."""
    stopped = down(data_dir)
    if stopped == 0:
        postgres.remove(data_dir)
        shutil.rmtree(data_dir, ignore_errors=True)
    return stopped


def status(data_dir: Path) -> int:
    """Print what runs; the exit status is 0 only if everything does."""
    state = State.load(data_dir)
    for name, recorded in state.processes.items():
        running = children.alive(recorded.identity)
        print(f"{name:16} {'running' if running else 'ended':8} pid {recorded.pid}")
    complete = state.ready and supervised(state)
    print("ready" if complete else "not running" if not supervised(state) else "starting")
    if complete and state.mode == "all":
        describe(data_dir)
    return 0 if complete else 1


def restart(data_dir: Path, name: str) -> int:
    """Stop one process; the supervisor starts it again."""
    state = State.load(data_dir)
    if name not in state.processes or not supervised(state):
        names = ", ".join(state.processes) or "nothing"
        print(f"no running process {name!r}; there are: {names}", file=sys.stderr)
        return 1
    before = state.processes[name]
    watcher = Supervisor(data_dir=data_dir)
    children.stop([(before.identity, watcher.launch_of(name))])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        now = State.load(data_dir).processes.get(name)
        if now and now != before and children.alive(now.identity):
            return 0
        time.sleep(0.05)
    print(f"{name} did not start again; see {data_dir / 'logs' / f'{name}.log'}", file=sys.stderr)
    return 1


def describe(data_dir: Path) -> None:
    """Print where a person finds the system."""
    addresses = locate.addresses(data_dir)
    web = addresses["web"]
    print(f"admin    {web}/admin/")
    print(f"API      {web}/api/v1/")
    print(f"API docs {web}/api/docs/")
    print(f"Flower   {addresses['flower']}/ ({OPERATOR}, flower_password in {data_dir / SECRETS})")
    given = os.environ.get("UPS_DATABASE_URL")
    url = given or locate.embedded_urls(data_dir).get("UPS_DATABASE_URL")
    if url and postgres.has_account(url, OPERATOR):
        print(f"sign-in  {OPERATOR}, operator_password in {data_dir / SECRETS}")
    else:
        print("sign-in  with an account of yours; this makes one (docs/operators.md):")
        print(MAKE_ACCOUNT)


def _tell_supervisor(data_dir: Path, number: signal.Signals) -> None:
    recorded = State.load(data_dir).supervisor
    if recorded is None:
        return
    identity = recorded.identity
    children.send(identity, number)
    deadline = time.monotonic() + 120
    while children.alive(identity) and time.monotonic() < deadline:
        time.sleep(0.05)
    children.send(identity, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
