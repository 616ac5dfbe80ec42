"""The events of one user that a snapshot does not show yet."""

from datetime import UTC, datetime, timedelta

import pytest

from controlcenter.platform.common import clock
from controlcenter.platform.log import positions
from controlcenter.platform.log.edges import edges_of_user
from controlcenter.serving.ingestion.services import ingest

pytestmark = pytest.mark.django_db(transaction=True)


def event(number, kind, actor, target):
    return {
        "event_id": f"00000000-0000-4000-8000-{number:012d}",
        "type": kind,
        "timestamp": "2026-01-31T12:00:00Z",
        "payload": {"actor": actor, "target": target},
    }


def test_what_a_user_did_and_what_others_did_to_it(workspace, other_workspace):
    rows = [("call", "u1", "u2"), ("call", "u2", "u1"), ("call", "u2", "u3"), ("use", "u1", "a1")]
    rows += [("call", "u1", "u1"), ("use", "u3", "u1")]
    ingest(workspace=workspace, events=[event(i, *row) for i, row in enumerate(rows)])
    ingest(workspace=other_workspace, events=[event(99, "call", "u1", "u9")])
    found = edges_of_user(workspace.pk, "u1", since=positions.BEGINNING.snapshot, before=None)
    assert {row[-1] for row in found} == {datetime(2026, 1, 31, 12, tzinfo=UTC)}
    assert sorted(row[:-1] for row in found) == [
        ("call", "u1", "u1", "user"),
        ("call", "u1", "u2", "user"),
        ("call", "u2", "u1", "user"),
        ("use", "u1", "a1", "app"),
    ]


def test_only_what_came_after_a_snapshot_and_before_a_moment(workspace):
    ingest(workspace=workspace, events=[event(1, "use", "u1", "a1")])
    mark = positions.current_position()
    ingest(workspace=workspace, events=[event(2, "use", "u1", "a2")])
    moment = clock.now()
    ingest(workspace=workspace, events=[event(3, "use", "u1", "a3")])

    def targets(**limits):
        return [row[2] for row in edges_of_user(workspace.pk, "u1", **limits)]

    begin = positions.BEGINNING.snapshot
    assert sorted(targets(since=mark.snapshot, before=None)) == ["a2", "a3"]
    assert targets(since=mark.snapshot, before=moment) == ["a2"]
    assert sorted(targets(since=begin, before=moment)) == ["a1", "a2"]
    assert targets(since=begin, before=moment - timedelta(days=1)) == []
