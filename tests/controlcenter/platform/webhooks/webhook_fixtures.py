"""A real HTTP receiver on the loopback, webhooks that point to it, and tasks that move."""

import base64
import hashlib
import hmac
import json
import select
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from controlcenter_fixtures import make_task
from django.db import transaction
from django.db.models.functions import Now

from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.machine import move, version_of
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.webhooks import services
from controlcenter.platform.webhooks.models import Delivery, Webhook
from controlcenter.platform.webhooks.sender import Sender

PATIENCE = 30.0


@dataclass(frozen=True)
class Got:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]

    @property
    def data(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body)["data"]
        return told


Answering = Callable[[BaseHTTPRequestHandler, Got], int | None]


class Receiver:
    """Keeps what it gets; ``answer`` says with which status, or writes the answer itself."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answer: Answering = lambda handler, got: 200
        self.arrived = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                got = Got(self.path, headers, body)
                with outer.arrived:
                    outer.got.append(got)
                    outer.arrived.notify_all()
                status = outer.answer(self, got)
                if status is not None:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/in"

    def wait_for(self, count: int) -> list[Got]:
        """The requests, once there are so many."""
        with self.arrived:
            there = self.arrived.wait_for(lambda: len(self.got) >= count, PATIENCE)
        assert there, f"{len(self.got)} requests came, expected {count}"
        return self.got

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def verified(secret: str, got: Got) -> bool:
    """Whether one of the signatures is by the secret: written from the specification."""
    key = base64.b64decode(secret.split("_", 1)[1])
    signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = [one.split(",", 1) for one in got.headers["webhook-signature"].split(" ")]
    return any(version == "v1" and value == expected for version, value in given)


@pytest.fixture
def receivers(settings: Any) -> Iterator[Callable[[], Receiver]]:
    """Makes receivers; the loopback is allowed."""
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    made: list[Receiver] = []

    def make() -> Receiver:
        made.append(Receiver())
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


@pytest.fixture
def receiver(receivers: Callable[[], Receiver]) -> Receiver:
    return receivers()


@pytest.fixture
def hook(workspace: Workspace, owner: Account) -> Callable[..., tuple[Webhook, str]]:
    """``hook(url, states=[…])`` makes a webhook of ``workspace`` and gives its secret."""

    def make(url: str, name: str = "hook", **fields: Any) -> tuple[Webhook, str]:
        return services.create(
            workspace=workspace, account=owner, fields={"name": name, "url": url, **fields}
        )

    return make


@pytest.fixture
def sender() -> Iterator[Sender]:
    made = Sender()
    yield made
    made.finish()


def send_all(sender: Sender) -> None:
    """Send what is due, until nothing is under way."""
    deadline = time.monotonic() + PATIENCE
    while sender.send_due() or sender.under_way:
        select.select([sender.wake_read], [], [], 0.5)
        sender.hush()
        sender.settle()
        assert time.monotonic() < deadline, sender.under_way


def step(task: Task, target: str) -> Task:
    """Take one edge, in a transaction of its own."""
    with transaction.atomic():
        move(task, target, expected=version_of(task), actor="test", reason=f"to {target}")
    return Task.objects.get(pk=task.pk)


PATH = (states.BUILDING, states.TRAINING, states.EMBEDDING, states.COMPLETED)


def walk(task: Task, *targets: str) -> Task:
    for target in targets or PATH:
        task = step(task, target)
    return task


@pytest.fixture
def task(workspace: Workspace, ready_dataset: Any) -> Task:
    return make_task(workspace, ready_dataset, name="first")


def make_due() -> int:
    """What waits for its next attempt need wait no longer; leases have run out."""
    return Delivery.objects.filter(status="pending").update(available_at=Now(), leased_until=None)


def told(receiver):
    return [(got.data["from"], got.data["to"]) for got in receiver.got]
