"""A task's events as server-sent events, resumable by ``Last-Event-ID``."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task, TaskEvent

POLL_SECONDS = 0.3
KEEP_ALIVE_POLLS = 50
BATCH = 200


@sync_to_async
def read(task_id: uuid.UUID, after: int) -> tuple[list[TaskEvent], bool]:
    """Events after an id, and whether the task was over before they were read."""
    try:
        over = Task.objects.filter(pk=task_id, state__in=states.FINAL).exists()
        events = list(TaskEvent.objects.filter(task=task_id, pk__gt=after).order_by("pk")[:BATCH])
    finally:
        close_old_connections()
    return events, over


async def stream(task_id: uuid.UUID, after: int) -> AsyncIterator[str]:
    """Server-sent events: ``state``, ``progress``, ``retry``, ``cancel``, at last ``end``."""
    quiet = 0
    yield "retry: 1000\n\n"
    while True:
        events, over = await read(task_id, after)
        for event in events:
            after = event.pk
            data = json.dumps(event.data | {"at": event.at.isoformat()})
            yield f"id: {event.pk}\nevent: {event.kind}\ndata: {data}\n\n"
        if over and not events:
            yield "event: end\ndata: {}\n\n"
            return
        quiet = 0 if events else quiet + 1
        if quiet == KEEP_ALIVE_POLLS:
            quiet = 0
            yield ": still here\n\n"
        if not events:
            await asyncio.sleep(POLL_SECONDS)
