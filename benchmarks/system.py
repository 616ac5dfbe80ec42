"""Web server, relay and workers of a benchmark: processes of their own, by their real commands."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import urllib3

from controlcenter.embedded import children, launches, locate, logs
from controlcenter.embedded.processes import APPLICATIONS, Application
from controlcenter.embedded.state import choose_port

START_SECONDS = 120.0


@contextmanager
def system(*, workers: int, application: str = "workers.app") -> Iterator[str]:
    """Web, relay and workers of the queue ``refresh``, on the servers that the settings name.

    Args:
        workers: How many Celery workers, each with one process.
        application: Module of the workers' Celery application.

    Returns:
        Address of the web server, without a trailing slash.

    Raises:
        RuntimeError: if they don't answer in time, with the end of the log.
    """
    data_dir = locate.data_dir()
    ports = {"web": choose_port(preferred=[], reserved=[]), "flower": 0}
    found = {app.name: app for app in APPLICATIONS}
    parts = [found["web"], found["relay"]]
    parts += [worker(found["worker-refresh"], number, application) for number in range(workers)]
    secrets = locate.secrets(data_dir)
    running = []
    try:
        for part in parts:
            launch = launches.application(part, data_dir=data_dir, ports=ports, secrets=secrets)
            process = children.start(launch)
            identity = children.identify(process.pid)
            if identity is None:
                raise RuntimeError(f"{part.name} ended at once:\n{logs.tail(launch.log)}")
            running.append((identity, launch))
        address = f"http://127.0.0.1:{ports['web']}"
        for _, launch in running[2:]:
            wait_until(lambda log=launch.log: " ready." in log.read_text(), launch)  # type: ignore[misc]
        wait_until(lambda: answers(f"{address}/livez"), running[0][1])
        yield address
    finally:
        children.stop(running)


def worker(usual: Application, number: int, application: str) -> Application:
    """The usual worker under a name of its own."""
    command = usual.command.replace("workers.app", application)
    command = command.replace("-n refresh@", f"-n refresh{number}@")
    return replace(usual, name=f"{usual.name}-{number}", command=command)


def wait_until(ready: Callable[[], bool], launch: children.Launch) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"{launch.name} is not ready in {START_SECONDS:g} s:\n{logs.tail(launch.log)}"
            )
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        return urllib3.request("GET", url, timeout=2, retries=False).status < 500
    except urllib3.exceptions.HTTPError:
        return False
