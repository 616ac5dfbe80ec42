"""The owner of a loop, on real servers and a small model: it ends where a full pass over graph and
log would, whatever happens to it."""

import threading
import time
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from incremental_fixtures import (
    Killed,
    Owner,
    check_against_a_full_pass,
    do_queued,
    event,
    is_fresh,
    running,
    send,
    some_events,
    wait,
)

from controlcenter.modelling.registry.queries import active_version
from controlcenter.operations.incremental import state
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.store import StoreUnavailable, store
from controlcenter.platform.runs import reaper
from controlcenter.platform.runs.models import Run, RunStatus
from controlcenter.serving.incremental import holder, services
from controlcenter.serving.incremental.models import Loop
from controlcenter.serving.profiles.models import Profile
from workers.loops import engine_start, incremental
from workers.loops import refresher as refresher_module
from workers.runtime import shutdown

pytestmark = pytest.mark.django_db(transaction=True)
ORDERS = holder.instructions


def test_scores_follow_the_events(scored, anna, tmp_path):
    before = Profile.objects.get(workspace=scored, user_id="u00001")
    with running(scored, anna):
        for seed in range(3):
            events = some_events(scored, 40, seed)
            assert send(scored, *events, *events[:5]).accepted == 40
        send(scored, event("order", "u00001", "brand-new", "product"))
        wait(lambda: is_fresh(scored))
        now = state(scored)
        assert (now["events"], now["backlog"]["rows"]) == (121, {"user": 0, "product": 0, "app": 0})
        assert now["edges_per_event"] > 0
        # Sent again it is a duplicate, and nothing happens.
        assert send(scored, *events).accepted == 0
    check_against_a_full_pass(scored, tmp_path)
    after = Profile.objects.get(workspace=scored, user_id="u00001")
    assert after.revision > before.revision
    assert after.recommendations == before.recommendations
    assert Profile.objects.get(workspace=scored, user_id="new-0-0").final_score is not None


FAILPOINTS = {
    "while it loads": (engine_start, "load_whole_graph", 0),
    "before the first commit": (refresher_module, "tick_transaction", 0),
    "before a later commit": (refresher_module, "tick_transaction", 4),
    "inside a commit": (holder, "publish", 3),
    "before the checkpoint is recorded": (holder, "save_checkpoint", 0),
    "before the second checkpoint is recorded": (holder, "save_checkpoint", 1),
    "after the checkpoint was recorded": (incremental, "store", 0),
    "while it reads the log": (refresher_module, "event_frame", 2),
    "while it scores": (refresher_module, "score", 2),
}


@pytest.mark.parametrize("name", FAILPOINTS)
def test_killed_anywhere_it_loses_and_repeats_nothing(
    scored, anna, tmp_path, monkeypatch, settings, name
):
    settings.INCREMENTAL_CHECKPOINT_SECONDS = 0
    place, function, passes = FAILPOINTS[name]
    original, calls = getattr(place, function), []

    def dying(*args, **kwargs):
        calls.append(function)
        if len(calls) == passes + 1:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(place, function, dying)
    services.start(workspace=scored, account=anna)
    owner = Owner(scored)
    seed = 0
    while owner.thread.is_alive():
        send(scored, *some_events(scored, 10, seed))
        seed += 1
        owner.thread.join(0.2)
        assert seed < 200
    assert owner.join() == "killed"
    send(scored, *some_events(scored, 10, 1000))
    assert state(scored)["state"] in {"starting", "running"}, "the lease has not ended yet"
    Run.objects.filter(pk=owner.run.pk).update(lease_expires_at=Now() - timedelta(seconds=1))
    assert state(scored)["state"] == "lost"
    assert reaper.reap()["lost"] == 1
    ticks = Loop.objects.get(pk=scored.pk).ticks  # the second owner begins to count anew
    second = Owner(scored)
    assert second.run.losses == (0 if ticks else 1)
    wait(lambda: is_fresh(scored))
    check_against_a_full_pass(scored, tmp_path)
    send(scored, *some_events(scored, 10, 1001))
    wait(lambda: is_fresh(scored))
    services.stop(workspace=scored, account=anna)
    assert second.join() == "done"
    check_against_a_full_pass(scored, tmp_path)
    assert state(scored)["events"] == 10 * seed + 20
    kept = Artifact.objects.filter(name=holder.CHECKPOINT, key__contains="/incremental/")
    assert kept.count() <= 1, "older checkpoints are removed"


def test_a_stale_owner_writes_nothing(scored, anna, tmp_path, monkeypatch):
    """The first owner sleeps in the middle of a tick; the second one works meanwhile."""
    asleep, go_on = threading.Event(), threading.Event()
    original = refresher_module.score
    written = []

    def sleeping(*args):
        found = original(*args)
        if not asleep.is_set():
            asleep.set()
            assert go_on.wait(60)
            written.extend(user.user_id for user in found)
        return found

    monkeypatch.setattr(refresher_module, "score", sleeping)
    services.start(workspace=scored, account=anna)
    first = Owner(scored)
    wait(lambda: state(scored)["state"] == "running")
    send(scored, event("order", "u00003", "brand-new", "product"))
    assert asleep.wait(60)
    Run.objects.filter(pk=first.run.pk).update(lease_expires_at=Now() - timedelta(seconds=1))
    assert reaper.reap()["lost"] == 1
    second = Owner(scored)
    send(scored, *some_events(scored, 20, 1))
    wait(lambda: is_fresh(scored))
    revisions = dict(Profile.objects.values_list("user_id", "revision"))
    go_on.set()
    assert first.join() == "fenced"
    assert written, "it had something to write"
    assert dict(Profile.objects.values_list("user_id", "revision")) == revisions
    services.stop(workspace=scored, account=anna)
    assert second.join() == "done"
    check_against_a_full_pass(scored, tmp_path)


def test_a_new_version_makes_it_begin_anew(scored, anna, as_anna, tmp_path):
    with running(scored, anna):
        send(scored, *some_events(scored, 20, 1))
        rule = {"name": "pays", "expression": "monthly_fee > 1", "weight": 2.0}
        assert as_anna.post("/api/v1/rules/", rule, format="json").status_code == 201
        do_queued()
        wait(lambda: is_fresh(scored))
        now = state(scored)
        assert now["model_version"]["number"] == active_version(scored.pk).number == 2
        send(scored, *some_events(scored, 20, 2))
        wait(lambda: is_fresh(scored))
        check_against_a_full_pass(scored, tmp_path)
        assert (
            as_anna.post("/api/v1/models/rollback/", {"reason": "no"}, format="json").status_code
            == 202
        )
        send(scored, *some_events(scored, 20, 3))
        do_queued()
        wait(lambda: is_fresh(scored) and state(scored)["model_version"]["number"] == 1)
    check_against_a_full_pass(scored, tmp_path)


def test_it_is_given_up_when_it_gets_nowhere(scored, anna, as_anna, monkeypatch, settings):
    settings.RUN_ATTEMPTS = 3

    def broken(*args):
        raise ValueError("no such graph")

    monkeypatch.setattr(engine_start, "load_whole_graph", broken)
    services.start(workspace=scored, account=anna)
    for attempt in (1, 2, 3):
        Run.objects.filter(status=RunStatus.QUEUED).update(available_at=Now())
        owner = Owner(scored)
        assert owner.run.attempt == attempt
        assert owner.join() == "let go"
    told = state(scored)
    assert told["state"] == "failed"
    assert "no such graph" in told["trouble"]
    assert "start the incremental refresh again" in told["trouble"]
    monkeypatch.undo()
    with running(scored, anna):
        assert state(scored)["trouble"] == ""


def test_told_to_stop_with_its_worker_it_hands_back_at_once(scored, anna, monkeypatch):
    services.start(workspace=scored, account=anna)
    owner = Owner(scored)
    wait(lambda: state(scored)["state"] == "running")
    shutdown.request()
    try:
        assert owner.join() == "handed back"
    finally:
        shutdown._word[0] = 0
    following = services.runs_of(scored.pk).get(status=RunStatus.QUEUED)
    assert following.losses == 0, "it did what it should: that is no failed attempt"


def change_schema(scored):
    schema = scored.schema | {
        "edges": [
            *scored.schema["edges"],
            {"source": "user", "relation": "likes", "target": "app", "event": "like"},
        ]
    }
    Workspace.objects.filter(pk=scored.pk).update(schema=schema)


def test_a_schema_that_changed_before_it_was_taken_ends_it(scored, anna, monkeypatch):
    """Nothing is loaded for it, and no event has to come."""
    change_schema(scored)
    monkeypatch.setattr(incremental, "start_engine", None)
    services.start(workspace=scored, account=anna)
    assert Owner(scored).join() == "failed"
    told = state(scored)
    assert (told["state"], "run a refresh task" in told["trouble"]) == ("failed", True)


def test_another_schema_ends_it_with_a_sentence(scored, anna):
    services.start(workspace=scored, account=anna)
    owner = Owner(scored)
    wait(lambda: state(scored)["state"] == "running")
    change_schema(scored)
    send(Workspace.objects.get(pk=scored.pk), event("like", "u00001", "a1", "app"))
    assert owner.join() == "failed"
    told = state(scored)
    assert (told["state"], "run a refresh task" in told["trouble"]) == ("failed", True)


def test_a_checkpoint_that_is_gone_costs_a_full_pass_only(scored, anna, tmp_path, settings):
    settings.INCREMENTAL_CHECKPOINT_SECONDS = 0
    with running(scored, anna):
        send(scored, *some_events(scored, 20, 1))
        wait(lambda: state(scored)["checkpoint_at"] and is_fresh(scored))
    saved = Loop.objects.get(pk=scored.pk).checkpoint
    store().remove([saved.key])
    with running(scored, anna):
        wait(lambda: is_fresh(scored))
    check_against_a_full_pass(scored, tmp_path)


def counts(workspace):
    now = state(workspace)
    return now["events"], now["edges"]


@pytest.mark.parametrize("drained", [True, False], ids=["drained", "with a backlog"])
def test_stopped_and_started_it_goes_on_where_it_was(scored, anna, tmp_path, monkeypatch, drained):
    """Without the version's graph: what was stored at the stop is all that is needed."""
    with running(scored, anna):
        if not drained:
            monkeypatch.setattr(refresher_module.Refresher, "drain", lambda self: None)
        send(scored, *some_events(scored, 20, 1))
        wait(lambda: state(scored)["events"] == 20 and not state(scored)["lag_events"])
        if drained:
            wait(lambda: is_fresh(scored))
    before = counts(scored)
    stale_since = Loop.objects.get(pk=scored.pk).stale_since
    assert (stale_since is None) == drained
    monkeypatch.setattr(incremental, "from_graph", None)
    with running(scored, anna):
        assert (counts(scored), state(scored)["stale_since"]) == (before, stale_since)
        if not drained:
            monkeypatch.undo()
            wait(lambda: is_fresh(scored))
    check_against_a_full_pass(scored, tmp_path)


def test_what_was_counted_before_the_checkpoint_was_lost_is_not_counted_again(
    scored, anna, tmp_path
):
    """From the version's graph; events since the stop are counted."""
    with running(scored, anna):
        send(scored, *some_events(scored, 20, 1))
        wait(lambda: is_fresh(scored))
    Loop.objects.get(pk=scored.pk).checkpoint.delete()
    send(scored, *some_events(scored, 7, 2))
    with running(scored, anna):
        assert state(scored)["events"] == 27
        wait(lambda: is_fresh(scored))
    assert Loop.objects.get(pk=scored.pk).events == 27
    check_against_a_full_pass(scored, tmp_path)


def test_after_a_kill_what_is_stale_is_so_since_the_event_came(scored, anna, monkeypatch):
    """And not since the next owner read of it."""
    monkeypatch.setattr(refresher_module.Refresher, "drain", lambda self: None)
    services.start(workspace=scored, account=anna)
    owner = Owner(scored)
    wait(lambda: state(scored)["state"] == "running")
    send(scored, *some_events(scored, 20, 1))
    wait(lambda: state(scored)["events"] == 20)
    told = state(scored)["stale_since"]

    def dying(workspace_id):
        raise Killed

    monkeypatch.setattr(holder, "instructions", dying)
    assert owner.join() == "killed"
    monkeypatch.setattr(holder, "instructions", ORDERS)
    time.sleep(2)
    Run.objects.filter(pk=owner.run.pk).update(lease_expires_at=Now() - timedelta(seconds=1))
    assert reaper.reap()["lost"] == 1
    second = Owner(scored)
    wait(lambda: state(scored)["state"] == "running")
    assert state(scored)["stale_since"] <= told
    services.stop(workspace=scored, account=anna)
    assert second.join() == "done"


def test_a_store_that_is_away_does_not_keep_it_from_stopping(scored, anna, tmp_path, monkeypatch):
    def away(self, path, name):
        raise StoreUnavailable("away")

    with running(scored, anna):
        send(scored, *some_events(scored, 20, 1))
        wait(lambda: is_fresh(scored))
        monkeypatch.setattr("workers.runtime.execution.Execution.put", away)
    assert Loop.objects.get(pk=scored.pk).checkpoint is None
    monkeypatch.undo()
    with running(scored, anna):
        assert state(scored)["events"] == 20
        wait(lambda: is_fresh(scored))
    check_against_a_full_pass(scored, tmp_path)


def test_an_audit_is_published(scored, anna, monkeypatch):
    """Also by an owner that lives for a short time."""
    monkeypatch.setattr(incremental, "FIRST_AUDIT_TICKS", 3)
    with running(scored, anna):
        assert state(scored)["audit_at"] is None
        for seed in range(3):
            send(scored, *some_events(scored, 10, seed))
            wait(lambda: is_fresh(scored))
        assert wait(lambda: state(scored)["audit_at"])
        assert state(scored)["audit_error"] < 1e-5


def test_a_bad_audit_begins_anew(scored, anna, tmp_path, monkeypatch):
    """A state that is not that of a full pass leaves neither profiles nor checkpoints behind."""
    monkeypatch.setattr(incremental, "FIRST_AUDIT_TICKS", 1)
    monkeypatch.setattr(incremental, "AUDIT_TICKS", 1)
    original, loads = incremental.from_graph, []

    def from_graph(*args):
        loads.append(original(*args))
        return loads[-1]

    monkeypatch.setattr(incremental, "from_graph", from_graph)
    with running(scored, anna):
        send(scored, *some_events(scored, 10, 0))
        wait(lambda: is_fresh(scored))
        epoch = Loop.objects.get(pk=scored.pk).epoch
        loads[0].engine.caches["user"].hidden[1].values[:] = 9.0
        send(scored, *some_events(scored, 10, 1))
        wait(lambda: len(loads) == 2)
        assert Loop.objects.get(pk=scored.pk).checkpoint is None
        wait(lambda: is_fresh(scored) and state(scored)["audit_error"] < 1e-5)
        assert Loop.objects.get(pk=scored.pk).epoch == epoch
        assert state(scored)["events"] == 20
    check_against_a_full_pass(scored, tmp_path)
