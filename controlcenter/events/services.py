"""Ingestion: events enter here, once each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from operator import itemgetter
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from rest_framework.exceptions import ValidationError

from controlcenter.accounts.models import Account, Workspace
from controlcenter.audit.services import record
from controlcenter.common import clock
from controlcenter.common.errors import Conflict
from controlcenter.events.envelope import (
    Envelope,
    EnvelopeError,
    Reader,
    canonical_id,
    encoded_together,
    payload_of,
    shown,
)
from controlcenter.events.models import Ingestion
from controlcenter.events.writing import write
from controlcenter.incremental import waking
from controlcenter.profiles.counting import count_events, share_with_refresh
from controlcenter.profiles.models import Item
from ml.data.schema import USER

MAX_BATCH = 10_000
COPY_FROM = 500
"""From so many events on they are copied, which one that is known already brings to nothing."""
PART = 250
"""So many events are checked at a time, while the server writes those before."""
INDEX = itemgetter("index")
Places = dict[int, Envelope]
"""Good events by their places in the batch."""


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
    receipt = Receipt(received=len(events))
    reader = Reader(schema=workspace.graph_schema, now=clock.now())
    ids = list(map(canonical_id, events))
    parts = checked(reader, events, ids, receipt)
    whole = len(set(ids)) < len(ids) or any(map(reader.leaves_open, events))
    if whole:
        parts = iter([{place: event for part in parts for place, event in part.items()}])
    first = next(parts, {})
    refuse_if_none(first, receipt)
    with transaction.atomic():
        refuse_if_stopped(workspace)
        share_with_refresh(workspace.pk)
        if whole:
            first = firsts(resolved(workspace, first, receipt))
            refuse_if_none(first, receipt)
        batch = (list(part.values()) for part in chain([first], parts))
        new = write(workspace.pk, batch, copying=len(events) >= COPY_FROM)
        receipt.rejected.sort(key=INDEX)
        receipt.accepted = new.events
        receipt.duplicates = len(events) - len(receipt.rejected) - new.events
        receipt.created_users = count_events(workspace.pk, new)
        if new.events:
            waking.tell(workspace.pk, waking.EVENTS)
    return receipt


def refuse_if_none(good: Places, receipt: Receipt) -> None:
    """Raises: ValidationError with the first 100 reasons where nothing of a batch is good."""
    if not good:
        rejected = sorted(receipt.rejected, key=INDEX)[:100]
        raise ValidationError({f"events[{r['index']}].{r['field']}": r["reason"] for r in rejected})


def checked(
    reader: Reader, events: Sequence[object], ids: Sequence[str], receipt: Receipt
) -> Iterator[Places]:
    """The good events in the order of their ids, and of places in the batch where ids are the same.

    They come in parts of which none is empty, each checked when it is asked for.
    """
    order = sorted(range(len(ids)), key=ids.__getitem__)
    for begin in range(0, len(order), PART):
        good: Places = {}
        part = order[begin : begin + PART]
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


def refuse_if_stopped(workspace: Workspace) -> None:
    """Raises: Conflict if an owner stopped ingestion."""
    switch = Ingestion.objects.filter(workspace=workspace, stopped=True).first()
    if switch is not None:
        raise Conflict(
            f"Ingestion is stopped by {switch.changed_by} ({switch.reason}): keep your events "
            "and send them again when it runs; nothing of this batch was taken."
        )


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
