"""Reads of edges pass over other events without looking at each, and the other way round."""

import pytest
from django.db import connection

from controlcenter.platform.log import edges, queries
from controlcenter.platform.log.positions import BEGINNING, current_position

pytestmark = pytest.mark.django_db
FILL = """
INSERT INTO events_event (workspace_id, event_id, source, type, timestamp, actor, target,
    target_type, payload, meta)
SELECT %s, gen_random_uuid(), 's', 'sing', now(), 'u' || edge, 'u' || edge + 1,
    CASE WHEN edge IS NOT NULL THEN 'user' END, '{}', '{}'
FROM (SELECT CASE WHEN n %% 10 = 0 THEN n END AS edge FROM generate_series(1, 20000) AS n) AS rows
"""
LATER = "1000000000:1000000000:"


@pytest.fixture
def log(workspace):
    with connection.cursor() as cursor:
        cursor.execute(FILL, [workspace.pk])
        cursor.execute("ANALYZE events_event")
    return {
        "workspace": workspace.pk,
        "since": BEGINNING.snapshot,
        "until": current_position().snapshot,
        "user": "u10",
    }


def plan_of(sql, names):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}", names)
        return "\n".join(line for (line,) in cursor.fetchall())


@pytest.mark.parametrize("sql", [edges.FIRST, edges.LAG, edges.IN_COMMIT_ORDER])
def test_edges_are_read_by_their_own_index(log, sql):
    plan = plan_of(sql, log)
    assert "event_edge_order" in plan
    assert "Seq Scan" not in plan


def test_the_events_of_a_user_are_read_by_the_indexes_of_actors_and_of_called(log):
    plan = plan_of(edges.OF_USER.format(unseen=""), log)
    assert "event_actor" in plan
    assert "event_called" in plan


def test_a_consumer_that_is_nearly_there_reads_by_both_indexes(workspace, log):
    names = log | {"since": LATER}
    plan = plan_of(queries.IN_COMMIT_ORDER, names)
    assert {"event_edge_order", "event_other_order"} <= set(plan.replace("\n", " ").split())
