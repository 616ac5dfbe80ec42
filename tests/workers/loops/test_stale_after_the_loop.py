"""What readers are told once the loop is off: it knew more than the users' own events tell."""

from datetime import datetime

import pytest
from django.urls import reverse
from incremental_fixtures import (
    Owner,
    event,
    is_fresh,
    refresh,
    running,
    send,
    some_events,
    wait,
)

from controlcenter.operations.incremental import state
from controlcenter.platform.accounts.models import Account
from controlcenter.platform.log.models import Event
from controlcenter.serving.incremental import holder, services
from controlcenter.serving.incremental.models import Loop
from controlcenter.serving.profiles.models import Profile
from workers.loops import refresher as refresher_module
from workers.runtime.errors import PermanentError

pytestmark = pytest.mark.django_db(transaction=True)


def listed(client):
    """Every user's ``stale_since`` as readers get it."""
    rows = client.get("/api/v1/users/?page_size=100").json()["results"]
    assert len(rows) == Profile.objects.count()
    return {
        row["user_id"]: row["stale_since"] and datetime.fromisoformat(row["stale_since"])
        for row in rows
    }


@pytest.fixture
def undrained(monkeypatch):
    """Rows that are stale by the events of others stay so."""
    monkeypatch.setattr(refresher_module.Refresher, "drain", lambda self: None)


def has_a_backlog(workspace):
    now = state(workspace)
    return (
        now["stale_since"] is not None
        and not now["lag_events"]
        and not now["backlog"]["users_waiting"]
        and now["backlog"]["rows"].get("user", 0) > 0
    )


def end(workspace, account, how, monkeypatch):
    owner = Owner(workspace)
    wait(lambda: state(workspace)["state"] == "running")
    send(workspace, *some_events(workspace, 10, 1))
    wait(lambda: has_a_backlog(workspace))
    if how == "stopped":
        services.stop(workspace=workspace, account=account)
        assert owner.join() == "done"
        return

    def broken(workspace_id):
        raise PermanentError("It broke.")

    monkeypatch.setattr(holder, "instructions", broken)
    assert owner.join() == "failed"
    monkeypatch.undo()


@pytest.mark.parametrize("how", ["stopped", "failed"])
def test_a_loop_that_ended_with_a_backlog_leaves_no_stale_row_in_silence(
    scored, anna, as_anna, undrained, monkeypatch, how
):
    services.start(workspace=scored, account=anna)
    end(scored, anna, how, monkeypatch)
    loop = Loop.objects.get(pk=scored.pk)
    assert (loop.wanted, loop.backlog["rows"]["user"] > 0) == (False, True)
    told = listed(as_anna)
    assert None not in told.values()
    assert max(told.values()) <= loop.stale_since
    near = as_anna.get("/api/v1/users/u00001/similar/").json()
    assert None not in {row["stale_since"] for row in near}
    refresh(as_anna, mode="embedding_only")
    assert set(listed(as_anna).values()) == {None}


def test_after_a_loop_that_was_done_the_next_event_makes_all_doubtful(scored, anna, as_anna):
    with running(scored, anna):
        send(scored, *some_events(scored, 10, 1))
        wait(lambda: is_fresh(scored))
    assert set(listed(as_anna).values()) == {None}
    before = set(Event.objects.values_list("pk", flat=True))
    send(scored, event("call", "u00001", "u00002", "user"))
    came = Event.objects.exclude(pk__in=before).get().received_at
    told = listed(as_anna)
    assert None not in told.values()
    assert {since for name, since in told.items() if name not in {"u00001", "u00002"}} == {came}
    refresh(as_anna, mode="embedding_only")
    assert set(listed(as_anna).values()) == {None}
    send(scored, event("call", "u00001", "u00002", "user"))
    told = listed(as_anna)
    assert {name for name, since in told.items() if since} == {"u00001", "u00002"}


def test_the_admin_marks_scores_that_may_be_stale(scored, anna, client, undrained, monkeypatch):
    Account.objects.filter(pk=anna.pk).update(is_staff=True)
    client.force_login(anna)
    address = reverse("admin:profiles_profile_changelist")
    page = reverse("admin:profiles_profile_change", args=[Profile.objects.get(user_id="u00004").pk])
    mark = "may lack events since"
    assert mark not in client.get(address).content.decode()
    services.start(workspace=scored, account=anna)
    end(scored, anna, "stopped", monkeypatch)
    answer = client.get(address)
    assert answer.content.decode().count(mark) == len(answer.context["cl"].result_list) > 0
    told = client.get(page).content.decode()
    assert told.count(mark) > 1, "the user and the look-alikes"
