"""Edges between two positions: what was committed between them, in commit order."""

import threading
from itertools import pairwise

import pytest
from django.db import transaction

from controlcenter.platform.log.edges import COLUMNS, edge_lag, edges_between, first_edge_after
from controlcenter.platform.log.positions import BEGINNING, current_position
from controlcenter.platform.log.queries import activity
from controlcenter.serving.ingestion.services import ingest
from tests.controlcenter.serving.ingestion.test_ingestion_counts import event, in_threads


@pytest.mark.django_db(transaction=True)
def test_between_two_positions_is_what_was_committed_between_them(workspace):
    """A transaction that is open for long holds back its own events only, and they are not lost."""
    wrote, may_commit = threading.Event(), threading.Event()

    def slow():
        with transaction.atomic():
            ingest(workspace=workspace, events=[event(1, "u1", "use", "a1", 0)])
            wrote.set()
            assert may_commit.wait(30)

    def read(since, until):
        rows = edges_between(workspace.pk, since=since, until=until, chunk=2)
        return [dict(zip(COLUMNS, row, strict=True))["actor"] for chunk in rows for row in chunk]

    ingest(workspace=workspace, events=[event(n, "u0", "use", "a1", 0) for n in (10, 11, 12)])
    positions = [BEGINNING, current_position()]

    def fast():
        assert wrote.wait(30)
        try:
            ingest(workspace=workspace, events=[event(2, "u2", "use", "a1", 0)])
            positions.append(current_position())
        finally:
            may_commit.set()

    in_threads(slow, fast)
    positions.append(current_position())
    assert [read(*pair) for pair in pairwise(positions)] == [["u0"] * 3, ["u2"], ["u1"]]
    assert read(BEGINNING, positions[-1]) == ["u0"] * 3 + ["u1", "u2"]
    assert [len(chunk) for chunk in edges_between(workspace.pk, chunk=2)] == [2, 2, 1]
    assert edge_lag(workspace.pk, positions[1].snapshot).events == 2
    assert first_edge_after(workspace.pk, positions[-1].snapshot) is None
    assert activity(workspace.pk).total == 5


@pytest.mark.django_db
def test_another_workspaces_events_are_not_in_the_log(workspace, other_workspace):
    ingest(workspace=other_workspace, events=[event(1, "u1", "use", "a1", 0)])
    assert list(edges_between(workspace.pk)) == []
    assert activity(workspace.pk).total == 0
