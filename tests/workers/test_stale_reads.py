"""What readers and operators get of the loop: fresh or stale since, started and stopped."""

import threading
from datetime import datetime, timedelta

import pytest
from incremental_fixtures import (
    Owner,
    check_against_a_full_pass,
    event,
    refresh,
    running,
    send,
    some_events,
    wait,
)

from controlcenter.accounts.services import create_workspace
from controlcenter.audit.models import AuditEntry
from controlcenter.events.models import Event
from controlcenter.incremental import owning, switching
from controlcenter.incremental.models import Ask
from controlcenter.operations.incremental import state
from controlcenter.registry.services import active_version
from workers import refreshing as refreshing_module

pytestmark = pytest.mark.django_db(transaction=True)


def test_start_and_stop_by_the_api(workspace, client):
    url = "/api/v1/operations/incremental/"
    assert client.get(url).json()["state"] == "off"
    started = client.post(f"{url}start/", {"reason": "launch"}, format="json")
    assert (started.status_code, started.json()["state"]) == (202, "queued")
    assert client.post(f"{url}start/").json()["state"] == "queued"
    assert switching.runs_of(workspace.pk).count() == 1
    assert client.post(f"{url}stop/").json()["state"] == "off"
    client.post(f"{url}start/")
    owner = Owner(workspace)
    told = wait(lambda: (got := client.get(url).json())["state"] == "running" and got)
    assert told["model_version"]["number"] == active_version(workspace).number
    assert told["owner"]
    client.post(f"{url}stop/")
    assert owner.join() == "done"
    assert client.get(url).json()["state"] == "off"
    actions = AuditEntry.objects.filter(action__startswith="incremental.").order_by("pk")
    assert [a.action.partition(".")[2] for a in actions] == ["start", "stop", "start", "stop"]
    assert actions[0].details == {"reason": "launch"}


def test_switched_on_again_before_it_ended_it_goes_on(workspace, account, monkeypatch):
    with running(workspace, account) as owner:
        original = owning.finish

        def finish(held):
            switching.start(workspace=workspace, account=account)
            monkeypatch.setattr(owning, "finish", original)
            return original(held)

        monkeypatch.setattr(owning, "finish", finish)
        switching.stop(workspace=workspace, account=account)
        wait(lambda: owning.finish is original and state(workspace)["state"] == "running")
        assert owner.thread.is_alive()
        assert switching.runs_of(workspace.pk).count() == 1


def test_without_a_model_it_does_not_start(account, client):
    create_workspace(slug="empty", name="Empty", owner=account)
    answer = client.post("/api/v1/operations/incremental/start/?workspace=empty")
    assert answer.status_code == 409
    assert "run a refresh task" in answer.json()["detail"]
    assert client.post("/api/v1/operations/incremental/stop/?workspace=empty").status_code == 202


def user(client, user_id, **query):
    return client.get(f"/api/v1/users/{user_id}/", query).json()


def test_without_a_loop_a_read_says_since_when_it_is_stale(workspace, client):
    assert user(client, "u00001")["stale_since"] is None
    send(workspace, event("call", "u00001", "u00002", "user"))
    first = Event.objects.get().received_at
    send(workspace, event("call", "u00001", "u00003", "user"))
    for user_id in ("u00001", "u00002"):
        told = datetime.fromisoformat(user(client, user_id)["stale_since"])
        assert abs(told - first) < timedelta(seconds=1)
    assert user(client, "u00004")["stale_since"] is None
    stale = {
        row["user_id"]
        for row in client.get("/api/v1/users/?page_size=100").json()["results"]
        if row["stale_since"]
    }
    assert stale == {"u00001", "u00002", "u00003"}
    refresh(client, mode="embedding_only")
    assert user(client, "u00001")["stale_since"] is None


def test_a_read_after_an_event_is_fresh(workspace, account, client, tmp_path, settings):
    """Everywhere the event reaches: the actor, who it is about, and their neighbours."""
    settings.STALE_READ_WAIT_MS = 20_000  # the machine may be busy; mostly it is some milliseconds
    with running(workspace, account):
        for seed in range(5):
            send(workspace, *some_events(workspace, 5, seed))
            row = user(client, f"u{seed + 1:05d}")
            assert row["stale_since"] is None
        listed = client.get("/api/v1/users/?page_size=100&ordering=user_id").json()["results"]
        assert {row["stale_since"] for row in listed} == {None}
        near = client.get("/api/v1/users/u00001/similar/").json()
        assert {row["stale_since"] for row in near} == {None}
        assert not Ask.objects.exists()
    check_against_a_full_pass(workspace, tmp_path)


def test_a_read_that_gets_no_answer_says_since_when(workspace, account, client, monkeypatch):
    """The owner is stuck: the read ends after the wait, and is not silent."""
    stuck, go_on = threading.Event(), threading.Event()
    original = refreshing_module.Refresher.answer

    def answer(self, asks):
        if Event.objects.exists() and not go_on.is_set():
            stuck.set()
            assert go_on.wait(60)
        original(self, asks)

    monkeypatch.setattr(refreshing_module.Refresher, "answer", answer)
    with running(workspace, account):
        assert user(client, "u00004")["stale_since"] is None
        send(workspace, event("call", "u00001", "u00002", "user"))
        assert stuck.wait(60)
        for user_id in ("u00001", "u00004"):
            assert user(client, user_id)["stale_since"] is not None, "also who may be reached"
        assert not Ask.objects.exists(), "who does not wait any more asks for nothing"
        go_on.set()
        wait(lambda: user(client, "u00001")["stale_since"] is None)
