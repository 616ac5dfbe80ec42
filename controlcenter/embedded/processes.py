"""The application processes of the system, in one table.

`make up` starts those of ``local()``; docker-compose.yml starts all of them by the same commands,
which a test checks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

WORKER = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait must not spin: several share few cores
}

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Rows of single users are small: threads that wait for each other cost more than they bring."""


@dataclass(frozen=True, kw_only=True)
class Application:
    """One process of the system.

    Attributes:
        command: words with the placeholders ``{host}``, ``{http_port}``, ``{flower_port}`` and
            ``{data_dir}``.
        environment: what it needs beside the settings.
        grace_seconds: how long it may take to stop before it is killed.
        production_only: not started by `make up`.
    """

    name: str
    purpose: str
    command: str
    environment: Mapping[str, str] = field(default_factory=dict)
    grace_seconds: float = 10.0
    production_only: bool = False

    def argv(self, **values: object) -> list[str]:
        """The words of the command, placeholders filled in.

        Raises:
            KeyError: if a placeholder got no value.
        """
        return [word.format_map(values) for word in self.command.split()]


def _worker(
    name: str,
    queues: str,
    purpose: str,
    *,
    processes: int = 1,
    environment: Mapping[str, str] | None = None,
    production_only: bool = False,
) -> Application:
    return Application(
        name=f"worker-{name}",
        purpose=purpose,
        command=f"celery -A workers.app worker -Q {queues} -c {processes} -n {name}@%h -l INFO",
        environment={**WORKER, **(environment or {})},
        grace_seconds=20.0,
        production_only=production_only,
    )


APPLICATIONS = (
    Application(
        name="web",
        purpose="REST API, browsable API and admin",
        command=(
            "gunicorn controlcenter.asgi:application -k uvicorn_worker.UvicornWorker -w 2 "
            "--bind {host}:{http_port} --no-control-socket"
        ),
    ),
    Application(
        name="relay",
        purpose="publishes the outbox to the broker, reaps, fires schedules",
        command="python manage.py relay",
    ),
    Application(
        name="webhooks",
        purpose="sends what webhooks are told; apart from the relay, because receivers may be slow",
        command="python manage.py webhooks",
        grace_seconds=15.0,
    ),
    _worker("control", "control,ingest", "validates datasets, does beat's chores", processes=2),
    _worker("refresh", "refresh", "runs the stages of tasks"),
    _worker(
        "refresh-gpu",
        "refresh-gpu,refresh",
        "runs the stages of tasks on a GPU",
        environment={"UPS_DEVICE": "gpu"},
        production_only=True,
    ),
    _worker("explain", "explain", "explains scores", environment=ONE_THREAD),
    # Its runs end only when they are told to: threads hear the signal, and SIGTERM waits for them.
    Application(
        name="worker-incremental",
        purpose="keeps scores fresh as events come, a thread a workspace",
        command=(
            "celery -A workers.app worker -Q incremental -P threads -c 8 -n incremental@%h -l INFO"
        ),
        environment=ONE_THREAD,
        grace_seconds=20.0,
    ),
    Application(
        name="beat",
        purpose="wakes what happens by the clock",
        command="celery -A workers.app beat --pidfile= -l INFO",
    ),
    Application(
        name="flower",
        purpose="shows the workers and their jobs; its sign-in comes from FLOWER_BASIC_AUTH",
        command=(
            "celery -A workers.app flower --address={host} --port={flower_port} --max-tasks=1000"
        ),
    ),
)

MIGRATION = Application(
    name="migrate",
    purpose="brings the database's tables up to date before anything else starts",
    command="python manage.py migrate --noinput",
)


def local() -> tuple[Application, ...]:
    """What `make up` starts, in this order; it stops in reverse."""
    return tuple(application for application in APPLICATIONS if not application.production_only)
