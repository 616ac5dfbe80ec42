"""A consumer plugged in from outside: each committed event once, in commit order, come what may."""

import random
import threading
import uuid
from collections import Counter
from itertools import groupby

import pytest
from django.db import connection, transaction

from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.log import consumers
from controlcenter.platform.log.consumers import Consumer, read_on
from controlcenter.platform.log.encoding import EnvelopeError
from controlcenter.platform.log.envelope import NO_EDGE
from controlcenter.platform.log.models import ConsumerPosition, Event
from controlcenter.platform.log.participants import Participant
from controlcenter.platform.log.services import append
from tests.controlcenter.serving.ingestion.test_ingestion_counts import in_threads
from workers import app

pytestmark = pytest.mark.django_db(transaction=True)
WRITERS, BATCHES, SIZE = 4, 12, 5


def event(kind="price", **change):
    return {
        "event_id": str(uuid.uuid4()),
        "source": "market",
        "type": kind,
        "timestamp": "2026-01-31T12:00:00Z",
        "payload": {"price": 17.5, "venues": ["a", {"b": None}]},
        "meta": {"version": "1.0", "via": "feed"},
    } | change


def call(number):
    return event("call", payload={"actor": f"u{number}", "target": "hub"})


@pytest.fixture
def plug():
    """Registers consumers and unplugs them in the end."""
    names = []

    def plug(name, **parts):
        consumers.register(Consumer(name, **parts))
        names.append(name)

    yield plug
    for name in names:
        consumers.unregister(name)


@pytest.fixture
def notes(plug):
    """What a reading consumer was handed, in order; its effect is a row in a table of its own."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE test_notes (id serial, workspace_id uuid, event_id uuid)")
    failures = []

    def read(workspace_id, envelopes):
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO test_notes (workspace_id, event_id) VALUES (%s, %s)",
                [(workspace_id, one.event_id) for one in envelopes],
            )
        if failures:
            raise failures.pop()

    def noted(workspace):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT event_id::text FROM test_notes WHERE workspace_id = %s ORDER BY id",
                [workspace.pk],
            )
            return [event_id for (event_id,) in cursor.fetchall()]

    plug("notes", read=read)
    noted.failures = failures
    yield noted
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE test_notes")


def test_it_is_handed_envelopes_as_they_were_sent(workspace, plug):
    handed = []
    plug("whole", read=lambda workspace_id, envelopes: handed.extend(envelopes))
    sent = [event(), call(1), event("a.type.with.dots", payload={})]
    append(workspace=workspace, events=sent)
    assert read_on("whole", workspace.pk) == 3
    got = [one._asdict() for one in handed]
    received = [one.pop("received_at") for one in got]
    assert received == [Event.objects.first().received_at] * 3
    times = {one.pop("timestamp").isoformat() for one in got}
    assert times == {"2026-01-31T12:00:00+00:00"}
    expected = sorted(sent, key=lambda one: one["event_id"])  # a batch is written in this order
    assert got == [{k: v for k, v in one.items() if k != "timestamp"} for one in expected]


def test_several_writers_at_once_and_each_event_comes_once_in_commit_order(workspace, notes):
    """Readers compete, writers commit late or not at all; a user's events keep their order."""
    done = threading.Event()
    sent: dict[int, list[list[str]]] = {writer: [] for writer in range(WRITERS)}

    def write(writer):
        def work():
            chance = random.Random(writer)
            for _ in range(BATCHES):
                batch = [chance.choice([event(), call(writer)]) | {"event_id": str(uuid.uuid4())}
                         for _ in range(SIZE)]  # fmt: skip
                rolled_back = chance.random() < 0.2
                with transaction.atomic():
                    append(workspace=workspace, events=batch)
                    transaction.set_rollback(rolled_back)
                if not rolled_back:
                    sent[writer].append(sorted(one["event_id"] for one in batch))

        return work

    def read():
        while not done.is_set():
            read_on("notes", workspace.pk)

    def write_all():
        try:
            in_threads(*[write(writer) for writer in range(WRITERS)])
        finally:
            done.set()

    in_threads(write_all, read, read)
    read_on("notes", workspace.pk)
    noted = notes(workspace)
    batch_of = {
        event_id: (writer, number)
        for writer, batches in sent.items()
        for number, batch in enumerate(batches)
        for event_id in batch
    }
    assert Counter(noted) == Counter(batch_of.keys())  # each once, and none that was rolled back
    groups = [key for key, _ in groupby(noted, batch_of.__getitem__)]
    assert len(groups) == len(set(groups))  # a transaction's events stand together
    for writer, batches in sent.items():
        assert [number for who, number in groups if who == writer] == list(range(len(batches)))
        in_order = [event_id for event_id in noted if batch_of[event_id][0] == writer]
        assert in_order == [event_id for batch in batches for event_id in batch]


def test_what_commits_late_is_read_late_and_not_lost(workspace, notes):
    wrote, may_commit = threading.Event(), threading.Event()
    late, early = event(), event()

    def slow():
        with transaction.atomic():
            append(workspace=workspace, events=[late])
            wrote.set()
            assert may_commit.wait(30)

    def fast():
        assert wrote.wait(30)
        try:
            append(workspace=workspace, events=[early])
            assert read_on("notes", workspace.pk) == 1
        finally:
            may_commit.set()

    in_threads(slow, fast)
    assert read_on("notes", workspace.pk) == 1
    assert notes(workspace) == [early["event_id"], late["event_id"]]


def test_it_goes_on_from_its_stored_position_after_a_failure_and_a_restart(workspace, notes, plug):
    first, second = event(), call(2)
    append(workspace=workspace, events=[first])
    assert read_on("notes", workspace.pk) == 1
    append(workspace=workspace, events=[second])
    notes.failures.append(RuntimeError("the process was killed here"))
    with pytest.raises(RuntimeError, match="killed"):
        read_on("notes", workspace.pk)
    assert notes(workspace) == [first["event_id"]]  # effect and position are one transaction
    connection.close()  # a process that starts again knows its position from the table alone
    assert read_on("notes", workspace.pk) == 1
    assert read_on("notes", workspace.pk) == 0
    assert notes(workspace) == [first["event_id"], second["event_id"]]
    row = ConsumerPosition.objects.get(workspace=workspace, consumer="notes")
    assert row.at is not None


def test_the_chore_reads_for_all_and_one_that_fails_holds_nobody_up(
    workspace, other_workspace, notes, plug
):
    def broken(workspace_id, envelopes):
        raise RuntimeError("it can't read")

    plug("broken", read=broken)
    plug("writes", participant=None)
    sent = [event(), event(), event()]
    append(workspace=workspace, events=sent[:2])
    append(workspace=other_workspace, events=sent[2:])
    assert app.read_log() == {"read": 3, "failed": 2}
    assert notes(workspace) == sorted(one["event_id"] for one in sent[:2])
    assert notes(other_workspace) == [sent[2]["event_id"]]
    consumers.unregister("broken")
    assert app.read_log() == {"read": 0, "failed": 0}
    plug("broken", read=lambda workspace_id, envelopes: None)
    assert app.read_log() == {"read": 3, "failed": 0}, "from where it stood"


def test_who_is_read_by_another_process_is_passed_over(workspace, notes):
    append(workspace=workspace, events=[event()])
    assert read_on("notes", workspace.pk) == 1
    append(workspace=workspace, events=[event()])
    begun, done = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            assert read_on("notes", workspace.pk) == 1
            begun.set()
            assert done.wait(60)
        connection.close()

    other = threading.Thread(target=hold)
    other.start()
    assert begun.wait(60)
    assert app.read_log() == {"read": 0, "failed": 0}
    done.set()
    other.join()
    assert app.read_log() == {"read": 0, "failed": 0}
    assert len(notes(workspace)) == 2


def test_each_workspace_and_consumer_has_a_position_of_its_own(
    workspace, other_workspace, notes, plug
):
    plug("counter", read=lambda workspace_id, envelopes: None)
    append(workspace=workspace, events=[event(), event()])
    append(workspace=other_workspace, events=[event()])
    assert read_on("notes", workspace.pk) == 2
    assert read_on("notes", other_workspace.pk) == 1
    assert read_on("counter", workspace.pk) == 2


def test_a_name_belongs_to_one_consumer_and_only_readers_are_read_on(workspace, plug):
    plug("mine", participant=Participant)
    consumers.register(Consumer("mine", participant=Participant))
    with pytest.raises(ValueError, match="'mine'"):
        consumers.register(Consumer("mine"))
    for name in ("mine", "nobody"):
        with pytest.raises(LookupError, match=name):
            read_on(name, workspace.pk)


class PriceContract:
    expected = "an object with a price"

    def edge(self, payload):
        if not isinstance(payload.get("price"), float):
            raise EnvelopeError("payload.price", "expected a number")
        return NO_EDGE


class Prices(Participant):
    """Refuses prices that are none, and notes the good ones in the writing transaction."""

    def contracts(self):
        return {"price": PriceContract()}

    def begin(self, *, exclusive):
        self.new = []

    def add(self, entries):
        self.new += [one.event_id for one in entries if one.type == "price"]

    def prepare(self):
        self.new.sort()

    def finish(self):
        if len(self.new) > 3:
            raise Conflict("too many prices at once")
        return {"prices": len(self.new)}


def test_a_second_participant_asks_of_its_payloads_counts_and_refuses(workspace, plug):
    plug("prices", participant=Prices)
    good, bad, other = event(), event(payload={"price": "much"}), call(1)
    answer = append(workspace=workspace, events=[good, bad, other, good])
    assert (answer.accepted, answer.duplicates) == (2, 1)
    assert answer.rejected == [
        {"index": 1, "field": "payload.price", "reason": "expected a number"}
    ]
    assert answer.counts == {
        "graph": {"created_users": 2, "outside_graph": 1},
        "prices": {"prices": 1},
    }
    assert append(workspace=workspace, events=[good]).counts["prices"] == {"prices": 0}
    with pytest.raises(Conflict, match="too many prices"):
        append(workspace=workspace, events=[event() for _ in range(4)])
    assert Event.objects.count() == 2


def test_two_participants_that_ask_something_of_one_type_are_told_at_once(workspace, plug):
    plug("prices", participant=Prices)
    plug("prices too", participant=Prices)
    with pytest.raises(ValueError, match="two consumers ask something of events of type 'price'"):
        append(workspace=workspace, events=[event()])
