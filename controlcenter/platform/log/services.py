"""Appending to the log: events enter here, once each, and whoever takes part is asked."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from django.db import IntegrityError, transaction
from rest_framework.exceptions import ValidationError

from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.log.batches import INDEX, Batch, Rejection
from controlcenter.platform.log.consumers import participants
from controlcenter.platform.log.envelope import LogEntry
from controlcenter.platform.log.writing import Observer, copied, inserted

MAX_BATCH = 10_000
COPY_FROM = 500
"""From so many events on they are copied, which one that is known already brings to nothing."""

Write = Callable[[uuid.UUID, Iterator[list[LogEntry]], Observer], int]


@dataclass(frozen=True)
class Appended:
    """What became of a batch: accepted + duplicates + rejected = received.

    Args:
        counts: What each consumer that took part says, by its name.
    """

    received: int
    accepted: int
    duplicates: int
    rejected: list[Rejection]
    counts: Mapping[str, Mapping[str, int]]


def append(*, workspace: Workspace, events: Sequence[object]) -> Appended:
    """Write the events that are new, with the effects of all who take part, in one transaction.

    One bad event does not keep the others out: it is named in the answer with the reason.

    Args:
        events: Parsed JSON; a ``ValueError`` stands for a line that was none.

    Raises:
        ValidationError: if there are none, too many, or none that can be taken.
        APIException: what a participant refuses the batch with.
    """
    if not 1 <= len(events) <= MAX_BATCH:
        raise ValidationError({"events": f"got {len(events)}, expected 1 to {MAX_BATCH} a request"})
    batch = Batch(events, participants(workspace))
    if len(events) >= COPY_FROM:
        with suppress(IntegrityError):  # one of them is known
            return appended(workspace.pk, batch, copied)
    with suppress(IntegrityError):  # somebody else makes the same rows now
        return appended(workspace.pk, batch, inserted)
    return appended(workspace.pk, batch, inserted, exclusive=True)


def appended(
    workspace_id: uuid.UUID, batch: Batch, write: Write, *, exclusive: bool = False
) -> Appended:
    """One try at writing a batch.

    Raises:
        IntegrityError: as ``write`` and the participants, with nothing written.
    """
    with transaction.atomic():
        parts = batch.parts(batch.participants.begin(exclusive=exclusive))
        accepted = write(workspace_id, chain([next(parts)], parts), batch.participants)
        counts = batch.participants.finish()
    received, rejected = len(batch.events), sorted(batch.rejected, key=INDEX)
    duplicates = received - len(rejected) - accepted
    return Appended(received, accepted, duplicates, rejected, counts)
