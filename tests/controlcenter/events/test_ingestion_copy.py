"""Large batches are copied; what is known among them changes nothing about what is counted."""

import random
import uuid

import pytest

from controlcenter.events import writing
from controlcenter.events.models import Event
from controlcenter.events.services import ingest
from controlcenter.events.writing import COPY_FROM
from tests.controlcenter.events.test_ingestion_counts import (
    TARGETS,
    USERS,
    check_against_log,
    event,
    in_threads,
)


def some_events(count, seed=7):
    chance = random.Random(seed)
    events = []
    for number in range(count):
        kind = chance.choice(sorted(TARGETS))
        target = chance.choice(TARGETS[kind])
        events.append(event(number, chance.choice(USERS), kind, target, chance.randint(0, 60)))
    return events


@pytest.mark.django_db
def test_a_large_batch_with_known_events_is_taken_once(workspace):
    events = some_events(COPY_FROM + 100)
    assert ingest(workspace=workspace, events=events[:COPY_FROM]).accepted == COPY_FROM
    receipt = ingest(workspace=workspace, events=events)
    assert (receipt.accepted, receipt.duplicates) == (100, COPY_FROM)
    assert ingest(workspace=workspace, events=events).accepted == 0
    check_against_log(workspace)


@pytest.mark.django_db
def test_what_is_copied_is_what_was_sent(workspace):
    actor = "a\tb\\n\"'é\U0001f600"
    odd = {"actor": actor, "target": "a1", "note": "\\N \\. \r\n\u2028", "x": [1.5]}
    sent = event(10_000, "u1", "use", "a1", 3) | {"payload": odd, "meta": {"via": "{[\\u0000"}}
    ingest(workspace=workspace, events=[sent, *some_events(COPY_FROM)])
    kept = Event.objects.get(event_id=uuid.UUID(int=10_000))
    assert (kept.actor, kept.payload, kept.meta) == (actor, odd, sent["meta"])


@pytest.mark.django_db(transaction=True)
def test_twenty_overlapping_copies_at_once_count_each_event_once(workspace, monkeypatch):
    monkeypatch.setattr(writing, "COPY_FROM", 30)
    chance = random.Random(3)
    events = some_events(300)
    batches = [chance.sample(events, chance.choice([20, 120])) for _ in range(20)]
    receipts = []
    in_threads(
        *[
            lambda batch=batch: receipts.append(ingest(workspace=workspace, events=batch))
            for batch in batches
        ]
    )
    sent = {e["event_id"] for batch in batches for e in batch}
    assert sum(receipt.accepted for receipt in receipts) == len(sent)
    assert Event.objects.filter(workspace=workspace).count() == len(sent)
    check_against_log(workspace)
