"""A client of the soak: makes tasks through the API, each with an Idempotency-Key of its own.

It remembers how far it came, not whether the last answer arrived: after a kill it asks again.
"""

import json
import os
import time
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlcenter.settings")
django.setup()

from django.db import DatabaseError, connections  # noqa: E402
from rest_framework.test import APIClient  # noqa: E402

from controlcenter.modelling.tasks import states  # noqa: E402
from controlcenter.modelling.tasks.models import Task  # noqa: E402
from controlcenter.platform.accounts.models import Account  # noqa: E402

AGAIN = 3
"""So many of the last requests are sent again after a start."""

BUSY = {"steps": 1, "seconds": 0.15, "checkpoints": False}
SCRIPT = json.dumps({"building": BUSY, "training": BUSY})


class Client:
    """One client.

    Args:
        order: ``name``, how many ``tasks``, how many may be ``outstanding``, and the ``datasets``
            that it uses in turn, each with its workspace.
    """

    def __init__(self, order: dict, position: Path) -> None:
        self.order, self.position = order, position
        self.http = APIClient(raise_request_exception=True, SERVER_NAME="localhost")
        self.http.force_authenticate(Account.objects.get(username=order["account"]))

    def work(self) -> None:
        """Make what is not made yet, then stay."""
        first = int(self.position.read_text()) if self.position.exists() else 0
        for number in range(max(0, first - AGAIN), self.order["tasks"]):
            self.retry_while_disconnected(lambda: self.wait_for_room())
            self.retry_while_disconnected(lambda number=number: self.make(number))
            partial = self.position.with_suffix(".partial")
            partial.write_text(str(number + 1))
            partial.rename(self.position)

    def retry_while_disconnected(self, call) -> None:
        while True:
            try:
                return call()
            except DatabaseError:
                connections.close_all()
                time.sleep(0.5)

    def wait_for_room(self) -> None:
        mine = Task.objects.filter(
            idempotency_key__startswith=f"{self.order['name']} ", state__in=states.INCOMPLETE
        )
        while mine.count() >= self.order["outstanding"]:
            time.sleep(0.1)

    def make(self, number: int) -> None:
        """Ask for a task.

        Raises:
            RuntimeError: if the answer is neither a new task nor the one of before.
        """
        workspace, dataset = self.order["datasets"][number % len(self.order["datasets"])]
        answer = self.http.post(
            f"/api/v1/tasks/?workspace={workspace}",
            {"dataset": dataset, "name": SCRIPT, "workflow": "refresh"},
            format="json",
            headers={"Idempotency-Key": f"{self.order['name']} {number}"},
        )
        if answer.status_code not in (200, 201):
            raise RuntimeError(f"task {number}: {answer.status_code} {answer.content!r}")


if __name__ == "__main__":
    told = Path(os.environ["CHAOS_CLIENT"])
    Client(json.loads(told.read_text()), told.with_suffix(".position")).work()
    while True:
        time.sleep(60)
