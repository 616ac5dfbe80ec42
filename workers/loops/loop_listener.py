"""Waiting for what is told of one workspace's loop."""

import time
import uuid
from types import TracebackType
from typing import Self

from controlcenter.platform.common.listener import Listener
from controlcenter.serving.incremental.notifications import CHANNEL, URGENT
from workers.runtime import shutdown

SLICE_SECONDS = 0.5


class LoopListener:
    """Hears what is told of the loop of a workspace. Without a connection it just waits."""

    def __init__(self, workspace_id: uuid.UUID) -> None:
        self.workspace_id = str(workspace_id)
        self.listener = Listener(CHANNEL)

    def __enter__(self) -> Self:
        self.listener.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.listener.close()

    def wait(self, seconds: float, *, debounce: float) -> None:
        """Until something urgent is told, or events and ``debounce`` seconds have passed, or
        ``seconds`` have, or the worker is told to stop."""
        begin = time.monotonic()
        end = begin + seconds
        while not shutdown.requested() and (left := end - time.monotonic()) > 0:
            messages = self.receive(min(left, SLICE_SECONDS))
            if URGENT in messages:
                return
            if messages:
                end = min(end, begin + debounce)

    def receive(self, seconds: float) -> set[str]:
        """What is told of this workspace within some seconds; ends with the first of any."""
        messages = (payload.partition(" ") for payload in self.listener.wait(seconds))
        return {what for workspace_id, _, what in messages if workspace_id == self.workspace_id}
