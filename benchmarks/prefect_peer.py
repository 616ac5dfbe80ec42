"""Prefect beside the task machinery, in an environment of its own that the project never sees."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

from benchmarks.machine import REPOSITORY
from controlcenter.embedded.state import choose_port

REQUIREMENTS = REPOSITORY / "benchmarks" / "requirements-prefect.txt"
FLOW = REPOSITORY / "benchmarks" / "prefect_flow.py"
PROCESSES = 2
STAGES = 3
INSTALL_SECONDS, START_SECONDS = 600.0, 120.0


@dataclass(frozen=True)
class Peer:
    """An installed Prefect.

    Args:
        folder: Its virtual environment.
    """

    folder: Path

    def rate(self, flows: int) -> float:
        """Tasks a second of ``PROCESSES`` that call the flow, on a fresh server on SQLite.

        Args:
            flows: How many times each process calls it, after once for warming up.

        Raises:
            RuntimeError: if the server or a process does not do its part.
        """
        with self.server() as environment:
            callers = [self.caller(flows, environment) for _ in range(PROCESSES)]
            try:
                for one in callers:
                    hear(one, "ready")
                begin = time.perf_counter()
                for one in callers:
                    say(one)
                for one in callers:
                    hear(one, "done")
                spent = time.perf_counter() - begin
            finally:
                for one in callers:
                    stop(one)
        return STAGES * flows * PROCESSES / spent

    def caller(self, flows: int, environment: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.folder / "bin" / "python"), str(FLOW), str(flows)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def server(self) -> Iterator[dict[str, str]]:
        """Prefect's server with an empty database, and the environment of its clients."""
        home = Path(tempfile.mkdtemp(prefix="ups-prefect-"))
        port = choose_port(preferred=[], reserved=[])
        environment = {
            **os.environ,
            "PREFECT_HOME": str(home),
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        words = ["server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
        with (home / "server.log").open("wb") as log:
            server = subprocess.Popen(
                [str(self.folder / "bin" / "prefect"), *words],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_for(f"http://127.0.0.1:{port}/api/health", server, home / "server.log")
            yield {**environment, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
        finally:
            stop(server)
            shutil.rmtree(home, ignore_errors=True)


def installed(folder: Path) -> tuple[Peer | None, str]:
    """Prefect in its own virtual environment, made if it is not there.

    Returns:
        The peer and "", or None and why it cannot be had.
    """
    mark, wanted = folder / "installed", hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return Peer(folder), ""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "-r"]
    for command in ([sys.executable, "-m", "venv", str(folder)], [*install, str(REQUIREMENTS)]):
        try:
            subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS
            )
        except (OSError, subprocess.SubprocessError) as error:
            told = str(getattr(error, "stderr", None) or error).strip().splitlines()
            return None, f"Prefect could not be installed: {told[-1] if told else error}"
    mark.write_text(wanted)
    return Peer(folder), ""


def versions(folder: Path) -> dict[str, str]:
    """Versions of Prefect as installed; none if it is not."""
    pins = dict(line.split("==") for line in REQUIREMENTS.read_text().splitlines() if "==" in line)
    return {"prefect": pins["prefect"]} if (folder / "installed").exists() else {}


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until Prefect's server answers.

    Raises:
        RuntimeError: if it ended or does not answer in time, with its log.
    """
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if urllib3.request("GET", url, timeout=2, retries=False).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.2)
    raise RuntimeError(f"Prefect's server does not answer:\n{log.read_text()[-2000:]}")


def hear(process: subprocess.Popen[str], word: str) -> None:
    """Raises: RuntimeError if the process says something else, or nothing any more."""
    assert process.stdout is not None
    told = process.stdout.readline().strip()
    if told != word:
        raise RuntimeError(f"Prefect's process said {told!r}, expected {word!r}")


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def stop(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """End a process that we started."""
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
