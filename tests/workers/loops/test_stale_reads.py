"""What readers and operators get of the loop: fresh or stale since, started and stopped."""

import threading
from datetime import datetime, timedelta

import numpy as np
import pytest
from incremental_fixtures import (
    Owner,
    check_against_a_full_pass,
    event,
    is_fresh,
    refresh,
    running,
    send,
    some_events,
    wait,
)

from controlcenter.modelling.registry.queries import active_version
from controlcenter.operations.incremental import state
from controlcenter.platform.accounts.services import create_workspace
from controlcenter.platform.accounts.viewsets import ReadViewSet
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.log.models import Event
from controlcenter.serving.incremental import holder, services
from controlcenter.serving.incremental.models import RefreshRequest
from controlcenter.serving.profiles.models import Profile
from workers.loops import refresher as refresher_module

pytestmark = pytest.mark.django_db(transaction=True)


def test_start_and_stop_by_the_api(scored, as_anna):
    url = "/api/v1/operations/incremental/"
    assert as_anna.get(url).json()["state"] == "off"
    started = as_anna.post(f"{url}start/", {"reason": "launch"}, format="json")
    assert (started.status_code, started.json()["state"]) == (202, "queued")
    assert as_anna.post(f"{url}start/").json()["state"] == "queued"
    assert services.runs_of(scored.pk).count() == 1
    assert as_anna.post(f"{url}stop/").json()["state"] == "off"
    as_anna.post(f"{url}start/")
    owner = Owner(scored)
    told = wait(lambda: (got := as_anna.get(url).json())["state"] == "running" and got)
    assert told["model_version"]["number"] == active_version(scored.pk).number
    assert told["owner"]
    as_anna.post(f"{url}stop/")
    assert owner.join() == "done"
    assert as_anna.get(url).json()["state"] == "off"
    actions = AuditEntry.objects.filter(action__startswith="incremental.").order_by("pk")
    assert [a.action.partition(".")[2] for a in actions] == ["start", "stop", "start", "stop"]
    assert actions[0].details == {"reason": "launch"}


def test_switched_on_again_before_it_ended_it_goes_on(scored, anna, monkeypatch):
    with running(scored, anna) as owner:
        original = holder.finish

        def finish(held):
            services.start(workspace=scored, account=anna)
            monkeypatch.setattr(holder, "finish", original)
            return original(held)

        monkeypatch.setattr(holder, "finish", finish)
        services.stop(workspace=scored, account=anna)
        wait(lambda: holder.finish is original and state(scored)["state"] == "running")
        assert owner.thread.is_alive()
        assert services.runs_of(scored.pk).count() == 1


def test_without_a_model_it_does_not_start(anna, as_anna):
    create_workspace(slug="empty", name="Empty", owner=anna)
    answer = as_anna.post("/api/v1/operations/incremental/start/?workspace=empty")
    assert answer.status_code == 409
    assert "run a refresh task" in answer.json()["detail"]
    assert as_anna.post("/api/v1/operations/incremental/stop/?workspace=empty").status_code == 202


def user(client, user_id, **query):
    return client.get(f"/api/v1/users/{user_id}/", query).json()


def test_without_a_loop_a_read_says_since_when_it_is_stale(scored, as_anna):
    assert user(as_anna, "u00001")["stale_since"] is None
    send(scored, event("call", "u00001", "u00002", "user"))
    first = Event.objects.get().received_at
    send(scored, event("call", "u00001", "u00003", "user"))
    for user_id in ("u00001", "u00002"):
        told = datetime.fromisoformat(user(as_anna, user_id)["stale_since"])
        assert abs(told - first) < timedelta(seconds=1)
    assert user(as_anna, "u00004")["stale_since"] is None
    stale = {
        row["user_id"]
        for row in as_anna.get("/api/v1/users/?page_size=100").json()["results"]
        if row["stale_since"]
    }
    assert stale == {"u00001", "u00002", "u00003"}
    refresh(as_anna, mode="embedding_only")
    assert user(as_anna, "u00001")["stale_since"] is None


def test_a_read_after_an_event_is_fresh(scored, anna, as_anna, tmp_path, settings):
    """Everywhere the event reaches: the actor, who it is about, and their neighbours."""
    settings.STALE_READ_WAIT_MS = 20_000  # the machine may be busy; mostly it is some milliseconds
    with running(scored, anna):
        for seed in range(5):
            send(scored, *some_events(scored, 5, seed))
            row = user(as_anna, f"u{seed + 1:05d}")
            assert row["stale_since"] is None
        listed = as_anna.get("/api/v1/users/?page_size=100&ordering=user_id").json()["results"]
        assert {row["stale_since"] for row in listed} == {None}
        near = as_anna.get("/api/v1/users/u00001/similar/").json()
        assert {row["stale_since"] for row in near} == {None}
        assert not RefreshRequest.objects.exists()
        wait(lambda: is_fresh(scored))  # products and apps, which nobody asked for, come last
    check_against_a_full_pass(scored, tmp_path)


def test_a_row_read_before_it_was_refreshed_is_not_taken_for_fresh(
    scored, anna, as_anna, settings, monkeypatch
):
    """All that is stale is refreshed while the page is being put together."""
    settings.STALE_READ_WAIT_MS = 20_000
    original = ReadViewSet.paginate_queryset

    def slow(view, queryset):
        rows = original(view, queryset)
        wait(lambda: is_fresh(scored))
        return rows

    monkeypatch.setattr(ReadViewSet, "paginate_queryset", slow)
    scores = dict(Profile.objects.values_list("user_id", "revision"))
    with running(scored, anna):
        send(scored, event("call", "u00001", "u00002", "user"))
        listed = as_anna.get("/api/v1/users/?page_size=100&ordering=user_id").json()["results"]
        now = dict(Profile.objects.values_list("user_id", "revision"))
    assert now != scores
    found = {row["user_id"]: row["revision"] for row in listed if row["stale_since"] is None}
    assert found == {user_id: now[user_id] for user_id in found}


def test_nothing_is_told_to_be_fresh_before_all_of_it_is_written(scored, anna, monkeypatch):
    """A refresh of many users is several transactions, and readers come between them."""
    monkeypatch.setattr(refresher_module, "WRITE_ROWS", 7)
    original, looks = refresher_module.Refresher.commit, []

    def commit(self, *args):
        original(self, *args)
        if is_fresh(scored):
            rows = dict(Profile.objects.values_list("user_id", "embedding"))
            looks.append(len(rows))
            for user_id, z in zip(*self.engine.embeddings("user"), strict=True):
                np.testing.assert_allclose(rows[user_id], z, atol=2e-5)

    monkeypatch.setattr(refresher_module.Refresher, "commit", commit)
    with running(scored, anna):
        for seed in range(4):
            send(scored, *some_events(scored, 5, seed))
            wait(lambda: is_fresh(scored))
    assert looks


def test_offers_say_since_when_they_lack_events(scored, as_anna):
    url = "/api/v1/users/u00001/recommendations/"
    assert as_anna.get(url).json()["stale_since"] is None
    send(scored, event("call", "u00004", "u00002", "user"))
    send(scored, event("call", "u00001", "u00002", "user"))
    told = datetime.fromisoformat(as_anna.get(url).json()["stale_since"])
    assert told == Event.objects.order_by("pk").first().received_at
    refresh(as_anna, mode="embedding_only")
    assert as_anna.get(url).json()["stale_since"] is None


def test_reading_a_fresh_user_again_changes_nothing(scored, anna, as_anna, settings):
    settings.STALE_READ_WAIT_MS = 20_000
    with running(scored, anna):
        send(scored, *some_events(scored, 5, 1))
        first, again = user(as_anna, "u00002"), user(as_anna, "u00002")
        assert first["stale_since"] is None
        assert again == first


def test_a_read_that_gets_no_answer_says_since_when(scored, anna, as_anna, monkeypatch):
    """The owner is stuck: the read ends after the wait, and is not silent."""
    stuck, go_on = threading.Event(), threading.Event()
    original = refresher_module.Refresher.answer

    def answer(self, asks):
        if Event.objects.exists() and not go_on.is_set():
            stuck.set()
            assert go_on.wait(60)
        original(self, asks)

    monkeypatch.setattr(refresher_module.Refresher, "answer", answer)
    with running(scored, anna):
        assert user(as_anna, "u00004")["stale_since"] is None
        send(scored, event("call", "u00001", "u00002", "user"))
        assert stuck.wait(60)
        for user_id in ("u00001", "u00004"):
            assert user(as_anna, user_id)["stale_since"] is not None, "also who may be reached"
        assert not RefreshRequest.objects.exists(), "who does not wait any more asks for nothing"
        go_on.set()
        wait(lambda: user(as_anna, "u00001")["stale_since"] is None)
