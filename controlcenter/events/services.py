"""Ingestion: events enter here, once each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from rest_framework.exceptions import ValidationError

from controlcenter.accounts.models import Account, Workspace
from controlcenter.audit.services import record
from controlcenter.common import clock
from controlcenter.common.errors import Conflict
from controlcenter.events.envelope import Envelope, EnvelopeError, read, shown
from controlcenter.events.models import Ingestion
from controlcenter.incremental import waking
from controlcenter.profiles.counting import count_events, share_with_refresh
from controlcenter.profiles.models import Item
from ml.data.schema import USER

EVENT_ID = attrgetter("event_id")
MAX_BATCH = 10_000
COPY_FROM = 500
"""From so many events on they are copied, which one that is known already brings to nothing."""

COPY = """
COPY events_event (workspace_id, event_id, source, type, timestamp, actor, target, target_type,
    payload, meta) FROM STDIN
"""
INSERT = """
INSERT INTO events_event (workspace_id, event_id, source, type, timestamp, actor, target,
    target_type, payload, meta)
SELECT %(workspace)s, e.* FROM unnest(%(ids)s::uuid[], %(sources)s::text[], %(types)s::text[],
    %(times)s::timestamptz[], %(actors)s::text[], %(targets)s::text[], %(target_types)s::text[],
    %(payloads)s::jsonb[], %(metas)s::jsonb[]) AS e
ON CONFLICT (workspace_id, event_id) DO NOTHING
RETURNING event_id
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
    receipt = Receipt(received=len(events))
    good = checked(workspace, events, receipt)
    refuse_if_none(good, receipt)
    with transaction.atomic():
        refuse_if_stopped(workspace)
        share_with_refresh(workspace.pk)
        good = resolved(workspace, good, receipt)
        refuse_if_none(good, receipt)
        new = insert(workspace, [envelope for _, envelope in good])
        receipt.accepted = len(new)
        receipt.duplicates = len(good) - len(new)
        receipt.created_users = count_events(workspace.pk, new)
        if new:
            waking.tell(workspace.pk, waking.EVENTS)
    return receipt


def refuse_if_none(good: Sequence[object], receipt: Receipt) -> None:
    """Raises: ValidationError with the first 100 reasons where nothing of a batch is good."""
    if not good:
        raise ValidationError(
            {f"events[{r['index']}].{r['field']}": r["reason"] for r in receipt.rejected[:100]}
        )


def checked(
    workspace: Workspace, events: Sequence[object], receipt: Receipt
) -> list[tuple[int, Envelope]]:
    now, schema = clock.now(), workspace.graph_schema
    good: list[tuple[int, Envelope]] = []
    for index, event in enumerate(events):
        try:
            if isinstance(event, ValueError):
                raise EnvelopeError("event", f"is no JSON: {event}")
            good.append((index, read(event, schema=schema, now=now)))
        except EnvelopeError as error:
            reject(receipt, index, error.field, str(error))
    return good


def reject(receipt: Receipt, index: int, name: str, reason: str) -> None:
    receipt.rejected.append({"index": index, "field": name, "reason": reason})


def resolved(
    workspace: Workspace, good: list[tuple[int, Envelope]], receipt: Receipt
) -> list[tuple[int, Envelope]]:
    """Find what a click without ``target_type`` points at: the one known thing of that id.

    Known is what is in the workspace and what the batch itself names with its type.
    """
    open_ids = {e.target for _, e in good if not e.target_type}
    if not open_ids:
        return good
    found = Item.objects.filter(workspace=workspace, item_id__in=open_ids)
    types: dict[str, set[str]] = {}
    named = [(e.target, e.target_type) for _, e in good if e.target_type]
    for item_id, kind in [*found.values_list("item_id", "type"), *named]:
        if item_id in open_ids and kind != USER:
            types.setdefault(item_id, set()).add(kind)
    kept: list[tuple[int, Envelope]] = []
    for index, envelope in good:
        if envelope.target_type:
            kept.append((index, envelope))
            continue
        kinds = types.get(envelope.target, set())
        if len(kinds) != 1:
            expected = " or ".join(workspace.graph_schema.targets(envelope.type))
            got = "several kinds have" if kinds else "nothing has"
            reason = f"{got} the id {shown(envelope.target)}: say {expected}"
            reject(receipt, index, "payload.target_type", reason)
            continue
        kept.append((index, envelope._replace(target_type=kinds.pop())))
    return kept


def insert(workspace: Workspace, events: list[Envelope]) -> list[Envelope]:
    """Write the events whose ids are new, and give them; the first of two with one id wins.

    They are written in the order of their ids, so that ingestions never wait in a circle.
    """
    unique = {event.event_id: event for event in reversed(events)}
    ordered = sorted(unique.values(), key=EVENT_ID)
    if len(ordered) >= COPY_FROM and copied(workspace, ordered):
        return ordered
    with connection.cursor() as cursor:
        cursor.execute(
            INSERT,
            {
                "workspace": workspace.pk,
                "ids": [e.event_id for e in ordered],
                "sources": [e.source for e in ordered],
                "types": [e.type for e in ordered],
                "times": [e.timestamp for e in ordered],
                "actors": [e.actor for e in ordered],
                "targets": [e.target for e in ordered],
                "target_types": [e.target_type for e in ordered],
                "payloads": [e.payload for e in ordered],
                "metas": [e.meta for e in ordered],
            },
        )
        new = {row[0] for row in cursor.fetchall()}
    return [event for event in ordered if event.event_id in new]


def copied(workspace: Workspace, events: list[Envelope]) -> bool:
    """Whether all of the events were new and are written; otherwise none is."""
    try:
        with (
            transaction.atomic(),
            connection.cursor() as cursor,
            connection.wrap_database_errors,
            cursor.copy(COPY) as copy,
        ):
            for event in events:
                copy.write_row((workspace.pk, *event))
    except IntegrityError:
        return False
    return True


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
