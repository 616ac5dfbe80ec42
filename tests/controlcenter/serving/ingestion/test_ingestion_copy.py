"""Large batches are copied; what is known among them changes nothing about what is counted."""

import random
import uuid

import pytest
from rest_framework.exceptions import ValidationError

from controlcenter.platform.log import batches, services
from controlcenter.platform.log.batches import PART
from controlcenter.platform.log.models import Event
from controlcenter.platform.log.services import COPY_FROM
from controlcenter.serving.ingestion.services import ingest
from tests.controlcenter.serving.ingestion.test_ingestion_counts import (
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


@pytest.mark.django_db
@pytest.mark.parametrize("known", [0, PART, COPY_FROM + PART])
def test_one_known_event_in_any_part_is_found_and_the_rest_is_taken(workspace, known):
    events = some_events(COPY_FROM + 2 * PART)
    ingest(workspace=workspace, events=[events[known]])
    receipt = ingest(workspace=workspace, events=events)
    assert (receipt.accepted, receipt.duplicates) == (len(events) - 1, 1)
    check_against_log(workspace)


def with_bad_ones(events):
    """Every seventh is spoiled, in one of several ways; some stand for lines that are no JSON."""
    ways = (
        {"event_id": "17"},
        {"type": ["sing"]},
        {"timestamp": "yesterday"},
        {"payload": {"actor": "u1", "target": "x", "more": [{}, {"deep": "\0"}]}},
        {"payload": 3},
        {"meta": {"version": "2.0"}},
    )
    return [
        (ValueError("half a line") if n % 5 == 0 else event | ways[n % len(ways)])
        if n % 7 == 0
        else event
        for n, event in enumerate(events)
    ]


def outside_graph(count):
    """Events of a type that the graph does not know, some with texts that COPY has to escape."""
    return [
        event(20_000 + n, "u1", "sing", "a1", 1) | {"source": "one\\N\t" if n % 3 else "one\\"}
        for n in range(count)
    ]


@pytest.mark.django_db
def test_a_receipt_does_not_depend_on_the_way_in(workspace, other_workspace, monkeypatch):
    events = with_bad_ones(some_events(COPY_FROM + PART)) + outside_graph(50)
    random.Random(5).shuffle(events)
    copied = ingest(workspace=workspace, events=events)
    monkeypatch.setattr(services, "COPY_FROM", len(events) + 1)
    for size in ("FIRST_PART", "PART"):
        monkeypatch.setattr(batches, size, 1)  # each payload is encoded alone
    assert ingest(workspace=other_workspace, events=events) == copied
    assert [r["index"] for r in copied.rejected] == sorted(r["index"] for r in copied.rejected)
    assert len({r["field"] for r in copied.rejected}) == 6
    assert copied.accepted + len(copied.rejected) == copied.received
    assert copied.outside_graph == 50
    columns = (
        "event_id",
        "source",
        "type",
        "timestamp",
        "actor",
        "target",
        "target_type",
        "payload",
    )
    one, other = (
        list(Event.objects.filter(workspace=w).order_by("event_id").values_list(*columns))
        for w in (workspace, other_workspace)
    )
    assert one == other
    check_against_log(workspace)


@pytest.mark.django_db
def test_a_large_batch_without_a_good_event_is_refused_with_its_first_reasons(workspace):
    bad = [e | {"type": ""} for e in reversed(some_events(COPY_FROM))]
    with pytest.raises(ValidationError) as refused:
        ingest(workspace=workspace, events=bad)
    assert list(refused.value.detail) == [f"events[{n}].type" for n in range(100)]


@pytest.mark.django_db
def test_an_id_in_another_spelling_is_the_same_id(workspace):
    events = some_events(COPY_FROM)
    number = uuid.UUID(events[-1]["event_id"])
    spellings = [str(number).upper(), f"{{{number}}}", number.hex, number.urn]
    same = [events[-1] | {"event_id": spelling} for spelling in spellings]
    receipt = ingest(workspace=workspace, events=[*events, *same])
    assert (receipt.accepted, receipt.duplicates) == (COPY_FROM, len(same))
    assert ingest(workspace=workspace, events=same).duplicates == len(same)
    check_against_log(workspace)


@pytest.mark.django_db
def test_a_large_batch_with_an_open_click_is_resolved_by_what_it_names(workspace):
    events = some_events(COPY_FROM)
    click = event(0, "u1", "click", "named later", 1) | {"event_id": str(uuid.uuid4())}
    named = event(0, "u1", "use", "named later", 1) | {"event_id": str(uuid.uuid4())}
    nowhere = event(0, "u1", "click", "nowhere", 1) | {"event_id": str(uuid.uuid4())}
    receipt = ingest(workspace=workspace, events=[nowhere, click, *events, named])
    assert [r["index"] for r in receipt.rejected] == [0]
    assert receipt.accepted == COPY_FROM + 2
    kept = Event.objects.get(event_id=click["event_id"])
    assert (kept.target, kept.target_type) == ("named later", "app")
    check_against_log(workspace)


@pytest.mark.django_db(transaction=True)
def test_twenty_overlapping_copies_at_once_count_each_event_once(workspace, monkeypatch):
    monkeypatch.setattr(services, "COPY_FROM", 30)
    monkeypatch.setattr(batches, "PART", 17)
    chance = random.Random(3)
    events = some_events(300)
    sent_batches = [chance.sample(events, chance.choice([20, 120])) for _ in range(20)]
    receipts = []
    in_threads(
        *[
            lambda batch=batch: receipts.append(ingest(workspace=workspace, events=batch))
            for batch in sent_batches
        ]
    )
    sent = {e["event_id"] for batch in sent_batches for e in batch}
    assert sum(receipt.accepted for receipt in receipts) == len(sent)
    assert Event.objects.filter(workspace=workspace).count() == len(sent)
    check_against_log(workspace)
