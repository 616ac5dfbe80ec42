"""A log that was written before it took any envelope keeps its rows, and takes others then."""

import uuid

import pytest
from django.db import IntegrityError, connection
from upgrading import migrate, newest

from controlcenter.platform.log.edges import edges_between
from controlcenter.platform.log.models import Event
from controlcenter.serving.ingestion.services import ingest

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE = [("log", "0001_schema")]


@pytest.fixture
def now():
    """All migrations, whatever happens in between."""
    leaves = newest()
    yield leaves
    migrate(leaves)


def event(kind):
    return {
        "event_id": str(uuid.uuid4()),
        "type": kind,
        "timestamp": "2026-01-31T12:00:00Z",
        "payload": {"actor": "u1", "target": "u2"},
    }


def indexes():
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'events_event'")
        return {name for (name,) in cursor.fetchall()}


def test_events_of_before_are_there_and_events_of_any_type_can_follow(workspace, now):
    sent = event("call")
    ingest(workspace=workspace, events=[sent])
    old_event = migrate(BEFORE).get_model("log", "Event")
    row = old_event.objects.get()
    assert (str(row.event_id), row.actor, row.target_type) == (sent["event_id"], "u1", "user")
    with pytest.raises(IntegrityError):
        old_event.objects.create(
            workspace_id=workspace.pk, event_id=uuid.uuid4(), source="s", type="t",
            timestamp="2026-01-31T12:00:00Z", actor=None, target="x", target_type="y",
        )  # fmt: skip
    assert "event_commit_order" in indexes()
    migrate(now)
    assert str(Event.objects.get().event_id) == sent["event_id"]
    assert {"event_edge_order", "event_other_order", "event_called"} <= indexes()
    assert "event_commit_order" not in indexes()
    assert ingest(workspace=workspace, events=[sent]).duplicates == 1
    assert ingest(workspace=workspace, events=[event("sing")]).outside_graph == 1
    (rows,) = edges_between(workspace.pk)
    assert [row[0] for row in rows] == [sent["event_id"]]
