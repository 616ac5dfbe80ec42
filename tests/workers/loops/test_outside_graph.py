"""Events outside the graph lie in the log beside those that are its edges, and change nothing."""

import pytest
from incremental_fixtures import (
    check_against_a_full_pass,
    event,
    is_fresh,
    refresh,
    running,
    send,
    some_events,
    wait,
)

from controlcenter.operations.incremental import state
from controlcenter.platform.common.listener import Listener
from controlcenter.platform.log.edges import edges_of_user
from controlcenter.platform.log.models import Event
from controlcenter.platform.log.positions import BEGINNING
from controlcenter.platform.runs.models import Run
from controlcenter.serving.incremental.models import Loop
from controlcenter.serving.incremental.notifications import CHANNEL, EVENTS
from controlcenter.serving.profiles.models import CallPeer, Item, Profile

pytestmark = pytest.mark.django_db(transaction=True)
SILENCE_SECONDS = 0.3


def outside(count, *, user="u00001", **payload):
    """Events of a type that the graph does not know; their payloads name a user all the same."""
    named = {"actor": user, "target": "u00002", "target_type": "user", **payload}
    return [event("price", user, "x", "user") | {"payload": named} for _ in range(count)]


def mixed(workspace, count, seed):
    """Edges with as many other events between them; returns edges and all."""
    edges = some_events(workspace, count, seed)
    others = outside(count)
    return edges, [one for pair in zip(edges, others, strict=True) for one in pair]


def profiles_of(workspace):
    return list(Profile.objects.filter(workspace=workspace).order_by("pk").values())


def built(workspace):
    """What the newest graph was built from."""
    return Run.objects.filter(workspace=workspace, kind="building").latest("finished_at").metrics


def user(client, user_id):
    return client.get(f"/api/v1/users/{user_id}/").json()


def test_they_are_kept_and_make_no_user_no_count_and_nothing_stale(scored, as_anna):
    before = profiles_of(scored)
    peers, items = CallPeer.objects.count(), Item.objects.count()
    receipt = send(scored, *outside(3), *outside(2, user="nobody-knows"))
    assert (receipt.accepted, receipt.outside_graph, receipt.created_users) == (5, 5, 0)
    assert send(scored, *outside(600)).outside_graph == 600  # so many are copied
    assert profiles_of(scored) == before
    assert (CallPeer.objects.count(), Item.objects.count()) == (peers, items)
    assert user(as_anna, "u00001")["stale_since"] is None
    listed = as_anna.get("/api/v1/events/", {"type": "price"}).json()
    assert listed["count"] == 605
    assert listed["results"][0]["payload"]["target"] == "u00002"
    assert set(Event.objects.values_list("actor", "target", "target_type")) == {(None, None, None)}


def test_a_refresh_reads_the_edges_around_them(scored, as_anna, tmp_path):
    edges, events = mixed(scored, 20, seed=1)
    send(scored, *outside(5))
    assert send(scored, *events).outside_graph == len(edges)
    refresh(as_anna)
    assert built(scored)["events_of_the_log"] == len(edges)
    assert user(as_anna, "u00001")["stale_since"] is None
    send(scored, *outside(5))
    assert user(as_anna, "u00001")["stale_since"] is None
    refresh(as_anna, mode="embedding_only")
    assert built(scored)["events_of_the_log"] == len(edges)
    assert sum(sum(p.live_counts.values()) for p in Profile.objects.all()) == len(edges)
    check_against_a_full_pass(scored, tmp_path)


def test_a_loop_takes_the_edges_between_them_and_no_more(scored, anna, as_anna, tmp_path):
    send(scored, *outside(5))
    with running(scored, anna):
        sent = 0
        for seed in range(3):
            edges, events = mixed(scored, 15, seed)
            assert send(scored, *events).accepted == 2 * len(edges)
            sent += len(edges)
        wait(lambda: is_fresh(scored))
        assert state(scored)["events"] == sent
        ticks, before = Loop.objects.get().ticks, profiles_of(scored)
        send(scored, *outside(30))
        assert is_fresh(scored)  # without anything having been done
        assert user(as_anna, "u00001")["stale_since"] is None
        assert profiles_of(scored) == before
        send(scored, event("use", "u00003", "last", "app"))  # the loop is past the others then
        wait(lambda: is_fresh(scored))
        now = state(scored)
        assert (now["events"], now["lag_events"]) == (sent + 1, 0)
        assert now["ticks"] > ticks
    check_against_a_full_pass(scored, tmp_path)


def test_they_wake_no_loop(scored):
    Loop.objects.update(wanted=True)
    with Listener(CHANNEL) as listener:
        send(scored, *outside(2))
        assert listener.wait(SILENCE_SECONDS) == []
        send(scored, *outside(1), event("call", "u00001", "u00002", "user"))
        assert listener.wait(30) == [f"{scored.pk} {EVENTS}"]


def test_they_are_no_part_of_a_users_history_and_no_lag(scored):
    send(scored, *outside(2), event("call", "u00001", "u00002", "user"), *outside(2))
    for user_id in ("u00001", "u00002"):
        rows = edges_of_user(scored.pk, user_id, since=BEGINNING.snapshot, before=None)
        assert [row[:3] for row in rows] == [("call", "u00001", "u00002")]
    assert state(scored)["lag_events"] == 1
