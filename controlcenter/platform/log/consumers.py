"""Consumers of the log. Rooms above register theirs in their ``apps.py``.

A consumer takes part in the transactions that write, or reads the log from a position of its own,
or both. Who takes part may refuse an event or a whole batch, and its effects are there with the
events. Who reads is handed each committed event exactly once, in commit order: its effects are
committed together with its position.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import structlog
from django.db import transaction

from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.log.models import ConsumerPosition
from controlcenter.platform.log.participants import Participant, Participants
from controlcenter.platform.log.positions import LogPosition, current_position
from controlcenter.platform.log.queries import Envelope, envelopes_between

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Consumer:
    """One consumer of the log.

    Args:
        name: Unique; its positions are kept under it.
        participant: Makes its part in writing a batch.
        read: Is handed committed events of a workspace, in a transaction that moves its position.
    """

    name: str
    participant: Callable[[Workspace], Participant] | None = None
    read: Callable[[uuid.UUID, Sequence[Envelope]], None] | None = None


_consumers: dict[str, Consumer] = {}


def register(consumer: Consumer) -> None:
    """Plug a consumer in; registering it again changes nothing.

    Raises:
        ValueError: if another one has its name.
    """
    if _consumers.setdefault(consumer.name, consumer) != consumer:
        raise ValueError(f"two consumers of the log are called {consumer.name!r}")


def unregister(name: str) -> None:
    """Unplug a consumer; its positions stay."""
    _consumers.pop(name, None)


def participants(workspace: Workspace) -> Participants:
    """The parts of all consumers that have one, in the order of registration."""
    return Participants(
        {
            name: consumer.participant(workspace)
            for name, consumer in _consumers.items()
            if consumer.participant is not None
        }
    )


def read_all() -> dict[str, int]:
    """Have every consumer that reads go on in every workspace. The workers do it now and then.

    Who fails stays where it was, and is tried again the next time; the others read on.

    Returns:
        Counts of events ``read`` and of consumers and workspaces that ``failed``.
    """
    names = [name for name, consumer in _consumers.items() if consumer.read is not None]
    counts = {"read": 0, "failed": 0}
    workspace_ids = list(Workspace.objects.values_list("pk", flat=True)) if names else []
    for name, workspace_id in product(names, workspace_ids):
        try:
            counts["read"] += read_on(name, workspace_id, wait=False)
        except Exception:
            counts["failed"] += 1
            log.exception("consumer.failed", consumer=name, workspace=str(workspace_id))
    return counts


@transaction.atomic
def read_on(name: str, workspace_id: uuid.UUID, *, wait: bool = True) -> int:
    """Hand a consumer all that was committed since its position, and move it there.

    One process at a time does it for a consumer and workspace. A consumer begins at the beginning
    of the log; all that it is behind is one transaction.

    Args:
        wait: For another process that is at it; else nothing is read.

    Returns:
        How many events were read.

    Raises:
        LookupError: if no consumer of this name reads.
    """
    consumer = _consumers.get(name)
    if consumer is None or consumer.read is None:
        raise LookupError(f"no consumer called {name!r} reads the log")
    ConsumerPosition.objects.get_or_create(workspace_id=workspace_id, consumer=name)
    rows = ConsumerPosition.objects.select_for_update(of=("self",), skip_locked=not wait)
    row = rows.filter(workspace_id=workspace_id, consumer=name).first()
    if row is None:
        return 0
    end, count = current_position(), 0
    since = LogPosition(row.snapshot, row.at)
    for envelopes in envelopes_between(workspace_id, since=since, until=end):
        consumer.read(workspace_id, envelopes)
        count += len(envelopes)
    if count:
        ConsumerPosition.objects.filter(pk=row.pk).update(snapshot=end.snapshot, at=end.at)
    return count
