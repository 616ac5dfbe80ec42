"""Counts in profiles equal a count over the log, whatever comes, in whatever order, at once."""

import random
import threading
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import somebody_waits_for_me, wait_until

from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.log.models import Event
from controlcenter.serving.ingestion.services import ingest
from controlcenter.serving.profiles.models import CallPeer, Item, Profile

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
USERS = [f"u{n}" for n in range(5)]
TARGETS = {"call": USERS, "use": ["a1", "a2"], "order": ["p1", "p2"]}


def event(number, actor, kind, target, day):
    return {
        "event_id": str(uuid.UUID(int=number)),
        "type": kind,
        "timestamp": (BEGIN + timedelta(days=day)).isoformat(),
        "payload": {"actor": actor, "target": target},
    }


def any_event(number):
    def of(kind):
        return st.builds(
            event,
            st.just(number),
            st.sampled_from(USERS),
            st.just(kind),
            st.sampled_from(TARGETS[kind]),
            st.integers(0, 60),
        )

    return st.sampled_from(sorted(TARGETS)).flatmap(of)


@st.composite
def batches(draw):
    """Batches of a few events, with repeats within and between them."""
    events = [draw(any_event(number)) for number in range(draw(st.integers(1, 12)))]
    batch = st.lists(st.sampled_from(events), min_size=1, max_size=8)
    return draw(st.lists(batch, min_size=1, max_size=5))


def check_against_log(workspace):
    """Every profile says what a walk over the log says."""
    log = list(Event.objects.filter(workspace=workspace, actor__isnull=False))
    called = {e.target for e in log if e.target_type == "user"}
    known = {e.actor for e in log} | called
    profiles = {p.user_id: p for p in Profile.objects.filter(workspace=workspace)}
    assert set(profiles) == known
    for user, profile in profiles.items():
        mine = [e for e in log if e.actor == user]
        assert profile.event_counts == dict(Counter(e.type for e in mine))
        assert profile.call_peers == len({e.target for e in mine if e.type == "call"})
        assert profile.last_event_at == max((e.timestamp for e in mine), default=None)
    pairs = {(e.actor, e.target) for e in log if e.type == "call"}
    rows = CallPeer.objects.filter(workspace=workspace).values_list("user_id", "peer_id")
    assert set(rows) == pairs
    items = {(e.target_type, e.target) for e in log if e.target_type != "user"}
    assert set(Item.objects.filter(workspace=workspace).values_list("type", "item_id")) == items


@pytest.mark.django_db
@given(batches())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_counts_are_those_of_the_log(db, sent):
    workspace = Workspace.objects.create(slug=str(uuid.uuid4()), name="one example")
    firsts = {}
    for batch in sent:
        receipt = ingest(workspace=workspace, events=batch)
        new = {e["event_id"]: e for e in reversed(batch) if e["event_id"] not in firsts}
        firsts |= new
        assert receipt.accepted == len(new)
        assert receipt.accepted + receipt.duplicates == receipt.received == len(batch)
    assert Event.objects.filter(workspace=workspace).count() == len(firsts)
    check_against_log(workspace)


def in_threads(*works):
    """Run at once, each with a connection of its own; raises what one of them raised."""
    errors = []

    def run(work):
        try:
            work()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


@pytest.mark.django_db(transaction=True)
def test_overlapping_batches_at_once_count_each_event_once(workspace):
    chance = random.Random(7)
    events = []
    for number in range(300):
        kind = chance.choice(sorted(TARGETS))
        target = chance.choice(TARGETS[kind])
        events.append(event(number, chance.choice(USERS), kind, target, chance.randint(0, 60)))
    shares = [[chance.sample(events, 60) for _ in range(8)] for _ in range(4)]
    receipts = []

    def send(batches):
        def work():
            receipts.extend(ingest(workspace=workspace, events=batch) for batch in batches)

        return work

    in_threads(*map(send, shares))
    sent = {e["event_id"] for share in shares for batch in share for e in batch}
    assert sum(receipt.accepted for receipt in receipts) == len(sent)
    assert all(r.accepted + r.duplicates == r.received == 60 for r in receipts)
    assert sum(receipt.created_users for receipt in receipts) == len(USERS)
    assert Event.objects.filter(workspace=workspace).count() == len(sent)
    check_against_log(workspace)


@pytest.mark.django_db(transaction=True)
def test_two_unknown_users_that_call_one_another_at_once_wait_in_no_circle(workspace):
    """Each transaction stops after it has first written users, until the other has or waits."""
    have_written = set()

    def call(number, actor, target):
        def pause(execute, sql, parameters, many, context):
            answer = execute(sql, parameters, many, context)
            if "MERGE INTO profiles_profile" in sql:
                have_written.add(number)
                # The other one waits for this transaction, as it should, or came before.
                wait_until(lambda: len(have_written) == 2 or somebody_waits_for_me())
            return answer

        def work():
            with connection.execute_wrapper(pause):
                ingest(workspace=workspace, events=[event(number, actor, "call", target, 0)])

        return work

    in_threads(call(1, "a", "b"), call(2, "b", "a"))
    check_against_log(workspace)


@pytest.mark.django_db(transaction=True)
def test_profiles_are_locked_in_the_order_of_their_ids(workspace):
    """Whatever the table's order and the server's plan: else ingestions may wait in a circle."""
    ids = [f"u{number:03}" for number in range(500)]
    Profile.objects.bulk_create(
        Profile(workspace=workspace, user_id=user) for user in reversed(ids)
    )
    batch = [event(n, user, "use", "a1", 0) for n, user in enumerate(ids[:100])]
    of_workspace = Profile.objects.filter(workspace=workspace)
    thread = threading.Thread(
        target=in_threads, args=[lambda: ingest(workspace=workspace, events=batch)]
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE profiles_profile")
        with transaction.atomic():
            of_workspace.select_for_update().get(user_id=ids[50])
            thread.start()
            wait_until(somebody_waits_for_me)
            free = of_workspace.select_for_update(skip_locked=True).values_list(
                "user_id", flat=True
            )
            assert sorted(free) == ids[50:]
    thread.join(150)
    assert not thread.is_alive()
    assert [p.event_counts for p in of_workspace.filter(user_id__in=ids[:100])] == [
        {"use": 1}
    ] * 100
