"""Ingestion: events enter here, once each."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, cast

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from rest_framework.exceptions import ValidationError

from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.audit.services import record
from controlcenter.platform.common.errors import Conflict
from controlcenter.serving.incremental import waking
from controlcenter.serving.ingestion.envelope import (
    Envelope,
    EnvelopeError,
    Reader,
    canonical_id,
    encoded_together,
    payload_of,
    shown,
)
from controlcenter.serving.ingestion.models import Ingestion
from controlcenter.serving.ingestion.writing import copied, inserted
from controlcenter.serving.profiles.counting import (
    IN_ORDER,
    LOCK,
    SHARED_LOCK,
    Additions,
    count_events,
)
from controlcenter.serving.profiles.models import Item
from ml.contracts.schema import USER

MAX_BATCH = 10_000
COPY_FROM = 500
"""From so many events on they are copied, which one that is known already brings to nothing."""
FIRST_PART, PART = 50, 250
"""So many events are checked at a time, at first and at most, while the server writes those before.
"""
INDEX = itemgetter("index")
Places = dict[int, Envelope]
"""Good events by their places in the batch."""
Write = Callable[[uuid.UUID, Iterator[list[Envelope]]], Additions]

OPEN = """
SELECT clock_timestamp(), i.reason, i.changed_by, {lock}, {order}
FROM accounts_workspace AS w LEFT JOIN events_ingestion AS i ON i.workspace_id = w.id AND i.stopped
WHERE w.id = %(workspace)s
"""


@dataclass
class Receipt:
    """What became of a batch: accepted + duplicates + rejected = received."""

    received: int
    accepted: int = 0
    duplicates: int = 0
    created_users: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)


def ingest(*, workspace: Workspace, events: Sequence[object]) -> Receipt:
    """Write the events that are new, and raise counts and last events in the same transaction.

    One bad event does not keep the others out: it is named in the receipt with the reason.

    Args:
        events: Parsed JSON; a ``ValueError`` stands for a line that was none.

    Raises:
        Conflict: if ingestion is stopped in the workspace.
        ValidationError: if there are none, too many, or none that can be taken.
    """
    if not 1 <= len(events) <= MAX_BATCH:
        raise ValidationError({"events": f"got {len(events)}, expected 1 to {MAX_BATCH} a request"})
    batch = Batch(workspace, events)
    if len(events) >= COPY_FROM:
        with suppress(IntegrityError):  # one of them is known
            return entered(batch, copied)
    with suppress(IntegrityError):  # somebody else makes the same user now
        return entered(batch, inserted)
    return entered(batch, inserted, lock=LOCK)


class Batch:
    """Events of one request, checked when they are asked for, and once.

    Args:
        events: As ``ingest`` takes them.

    Attributes:
        receipt: Names those that were found to be bad so far.
    """

    def __init__(self, workspace: Workspace, events: Sequence[object]) -> None:
        self.workspace, self.events = workspace, events
        self.receipt = Receipt(received=len(events))
        self._given: list[list[Envelope]] = []
        self._rest: Iterator[list[Envelope]] | None = None

    def parts(self, now: datetime) -> Iterator[list[Envelope]]:
        """Good events in the order of their ids, none of which comes twice.

        Args:
            now: See ``Reader``; of two calls the first one's counts.

        Raises:
            ValidationError: with the first 100 reasons, where not one is good.
        """
        if self._rest is None:
            self._rest = self._checked(Reader(schema=self.workspace.graph_schema, now=now))
        yield from self._given
        for part in self._rest:
            self._given.append(part)
            yield part
        if not self._given:
            rejected = sorted(self.receipt.rejected, key=INDEX)[:100]
            raise ValidationError(
                {f"events[{r['index']}].{r['field']}": r["reason"] for r in rejected}
            )

    def _checked(self, reader: Reader) -> Iterator[list[Envelope]]:
        ids = list(map(canonical_id, self.events))
        parts = checked(reader, self.events, ids, self.receipt)
        if len(set(ids)) < len(ids) or any(map(reader.leaves_open, self.events)):
            good = {place: event for part in parts for place, event in part.items()}
            parts = iter([firsts(resolved(self.workspace, good, self.receipt))])
        return (list(part.values()) for part in parts if part)


def entered(batch: Batch, write: Write, *, lock: str = SHARED_LOCK) -> Receipt:
    """Write what is new of a batch, and count it, in one transaction.

    Raises:
        IntegrityError: as ``write`` and ``count_events``, with nothing written.
    """
    workspace_id, receipt = batch.workspace.pk, batch.receipt
    with transaction.atomic():
        parts = batch.parts(opened(workspace_id, lock))
        new = write(workspace_id, chain([next(parts)], parts))
        receipt.rejected.sort(key=INDEX)
        receipt.accepted = new.events
        receipt.duplicates = receipt.received - len(receipt.rejected) - new.events
        receipt.created_users = count_events(workspace_id, new)
        if new.events:
            waking.tell(workspace_id, waking.EVENTS)
    return receipt


def opened(workspace_id: uuid.UUID, lock: str) -> datetime:
    """What every ingestion begins with, in one statement: the time, and the lock against merges.

    Raises:
        Conflict: if an owner stopped ingestion.
    """
    with connection.cursor() as cursor:
        cursor.execute(OPEN.format(lock=lock, order=IN_ORDER), {"workspace": workspace_id})
        now, reason, changed_by, *_ = cursor.fetchone()
    if reason is not None:
        raise Conflict(
            f"Ingestion is stopped by {changed_by} ({reason}): keep your events "
            "and send them again when it runs; nothing of this batch was taken."
        )
    return cast(datetime, now)


def checked(
    reader: Reader, events: Sequence[object], ids: Sequence[str], receipt: Receipt
) -> Iterator[Places]:
    """The good events in the order of their ids, and of places in the batch where ids are the same.

    They come in parts of which none is empty, each checked when it is asked for.
    """
    order = sorted(range(len(ids)), key=ids.__getitem__)
    begin, size = 0, FIRST_PART
    while begin < len(order):
        good: Places = {}
        part = order[begin : begin + size]
        begin, size = begin + size, min(2 * size, PART)
        payloads = encoded_together([payload_of(events[index]) for index in part])
        for index, payload in zip(part, payloads or repeat(None), strict=False):
            event = events[index]
            try:
                if isinstance(event, ValueError):
                    raise EnvelopeError("event", f"is no JSON: {event}")
                good[index] = reader.read(event, ids[index], payload)
            except EnvelopeError as error:
                reject(receipt, index, error.field, str(error))
        if good:
            yield good


def reject(receipt: Receipt, index: int, name: str, reason: str) -> None:
    receipt.rejected.append({"index": index, "field": name, "reason": reason})


def resolved(workspace: Workspace, good: Places, receipt: Receipt) -> Places:
    """Find what a click without ``target_type`` points at: the one known thing of that id.

    Known is what is in the workspace and what the batch itself names with its type.
    """
    open_ids = {e.target for e in good.values() if not e.target_type}
    if not open_ids:
        return good
    found = Item.objects.filter(workspace=workspace, item_id__in=open_ids)
    types: dict[str, set[str]] = {}
    named = [(e.target, e.target_type) for e in good.values() if e.target_type]
    for item_id, kind in [*found.values_list("item_id", "type"), *named]:
        if item_id in open_ids and kind != USER:
            types.setdefault(item_id, set()).add(kind)
    kept: Places = {}
    for index, envelope in good.items():
        if envelope.target_type:
            kept[index] = envelope
            continue
        kinds = types.get(envelope.target, set())
        if len(kinds) != 1:
            expected = " or ".join(workspace.graph_schema.targets(envelope.type))
            got = "several kinds have" if kinds else "nothing has"
            reason = f"{got} the id {shown(envelope.target)}: say {expected}"
            reject(receipt, index, "payload.target_type", reason)
            continue
        kept[index] = envelope._replace(target_type=kinds.pop())
    return kept


def firsts(good: Places) -> Places:
    """Without the events whose id is that of the one before."""
    kept: Places = {}
    last = ""
    for place, event in good.items():
        if event.event_id != last:
            kept[place] = event
        last = event.event_id
    return kept


@transaction.atomic
def switch_ingestion(
    *, workspace: Workspace, account: Account, stopped: bool, reason: str
) -> Ingestion:
    """Start or stop ingestion of a workspace, with a reason."""
    switch, _ = Ingestion.objects.update_or_create(
        workspace=workspace,
        defaults={
            "stopped": stopped,
            "reason": reason,
            "changed_by": account.username,
            "changed_at": Now(),
        },
    )
    action = "ingestion.stop" if stopped else "ingestion.start"
    record(
        account=account,
        workspace=workspace,
        action=action,
        target=workspace,
        details={"reason": reason},
    )
    return switch
