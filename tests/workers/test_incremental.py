"""The loop that keeps scores fresh, on real servers and a small model: it ends where a full pass
over the graph and the log would, whatever happens to its owner."""

import threading
import time
import uuid
from contextlib import contextmanager
from datetime import datetime, timedelta

import kept_rows
import numpy as np
import polars as pl
import pytest
from django.core.management import call_command
from django.db import connections
from django.db.models.functions import Now
from rest_framework.test import APIClient

from controlcenter.accounts.models import Account, Workspace
from controlcenter.accounts.services import create_workspace
from controlcenter.artifacts.models import Artifact
from controlcenter.artifacts.services import fetch_all
from controlcenter.artifacts.store import store
from controlcenter.audit.models import AuditEntry
from controlcenter.datasets.models import Dataset
from controlcenter.events.models import Event
from controlcenter.events.services import ingest
from controlcenter.incremental import owning, switching
from controlcenter.incremental.marks import present
from controlcenter.incremental.models import Ask, Loop
from controlcenter.operations.incremental import state
from controlcenter.profiles.models import Item, Profile
from controlcenter.registry.services import active_version
from controlcenter.tasks import reaper
from controlcenter.tasks.models import Run, RunStatus
from ml.data.schema import USER
from ml.hgt.model import embed
from ml.profile.evidence import profile_frame
from ml.profile.scoring import score_users
from workers import incremental, incremental_state, runtime
from workers import refreshing as refreshing_module
from workers.app import STAGES
from workers.building import load_mark, read_log
from workers.incremental_state import load_whole_graph
from workers.inputs import load_model
from workers.runtime import execute

pytestmark = pytest.mark.django_db(transaction=True)
SYNTHESIS = {"users": 60, "events": 1500, "products": 8, "apps": 5, "seed": 3}


class Killed(BaseException):
    """What the worker dies of: nothing of it runs any more."""


def module(kind):
    return __import__(STAGES[kind], fromlist=["work"])


def do_queued():
    """Do all background work but the loops, as workers do."""
    queued = Run.objects.filter(status=RunStatus.QUEUED).exclude(kind=switching.KIND)
    while (run := queued.order_by("created_at").first()) is not None:
        assert execute(str(run.pk), module(run.kind).work) == "done", run.kind


def client_of(account):
    found = APIClient()
    found.force_authenticate(account)
    return found


@pytest.fixture(scope="module")
def refreshed(django_db_setup, django_db_blocker):
    """The rows of a workspace after its first refresh."""
    with django_db_blocker.unblock():
        account = Account.objects.create_user("anna")
        create_workspace(slug="alpha", name="Alpha", owner=account)
        client = client_of(account)
        answer = client.post("/api/v1/datasets/synthesize/", SYNTHESIS, format="json")
        assert answer.status_code == 202
        do_queued()
        refresh(client)
        kept_rows.keep()
        call_command("flush", interactive=False, verbosity=0)


@pytest.fixture
def workspace(refreshed, transactional_db, monkeypatch):
    """A workspace after its first refresh."""
    monkeypatch.setattr(runtime, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(incremental, "IDLE_SECONDS", 0.2)
    kept_rows.put_back()
    return Workspace.objects.get(slug="alpha")


@pytest.fixture
def account(workspace):
    return Account.objects.get(username="anna")


@pytest.fixture
def client(account):
    return client_of(account)


def refresh(client, **parameters):
    dataset = Dataset.objects.first()
    body = {
        "dataset": str(dataset.pk),
        "parameters": {"epochs": 1, "fusion_epochs": 5, **parameters},
    }
    answer = client.post("/api/v1/tasks/", body, format="json")
    assert answer.status_code == 201, answer.content
    do_queued()


def event(kind, actor, target, target_type):
    return {
        "event_id": str(uuid.uuid4()),
        "type": kind,
        "timestamp": "2026-01-31T12:00:00Z",
        "payload": {"actor": actor, "target": target, "target_type": target_type},
    }


def send(workspace, *events):
    return ingest(workspace=workspace, events=list(events))


def some_events(workspace, count, seed):
    """Events between users, products and apps, known and new."""
    chance = np.random.default_rng(seed)
    users = sorted(Profile.objects.filter(workspace=workspace).values_list("user_id", flat=True))
    items = sorted(Item.objects.filter(workspace=workspace).values_list("type", "item_id"))
    found = []
    for number in range(count):
        actor = str(chance.choice(users)) if number % 9 else f"new-{seed}-{number}"
        if number % 3 == 0:
            found.append(event("call", actor, str(chance.choice(users)), "user"))
            continue
        kind, item = items[chance.integers(len(items))]
        item = item if number % 7 else f"{kind}-{seed}-{number}"
        found.append(event("order" if kind == "product" else "use", actor, item, kind))
    return found


class Owner:
    """A worker with the loop of a workspace, in a thread."""

    def __init__(self, workspace):
        self.run = switching.runs_of(workspace.pk).get(status=RunStatus.QUEUED)
        self.outcome = None
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        try:
            self.outcome = execute(str(self.run.pk), incremental.work)
        except Killed:
            self.outcome = "killed"
        finally:
            connections.close_all()

    def join(self):
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.outcome


def wait(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def is_fresh(workspace):
    now = state(workspace)
    return now["state"] == "running" and not now["lag_events"] and now["stale_since"] is None


@contextmanager
def running(workspace, account):
    """A loop that has caught up; stopped in the end."""
    switching.start(workspace=workspace, account=account)
    owner = Owner(workspace)
    wait(lambda: state(workspace)["state"] == "running")
    try:
        yield owner
    finally:
        switching.stop(workspace=workspace, account=account)
        outcome = owner.join()
    assert outcome == "done"


def check_against_a_full_pass(workspace, tmp_path):
    """Profiles and items are what a full pass over the version's graph and the log gives."""
    version = Loop.objects.get(pk=workspace.pk).version
    folder = tmp_path / uuid.uuid4().hex
    fetch_all(version.files.all(), folder / "model")
    fetch_all(version.graph_files.all(), folder / "graph")
    model = load_model(folder / "model", "cpu")
    mark = load_mark(folder / "graph")
    log = read_log(workspace.pk, until=present())
    known = read_log(workspace.pk, until=mark)["event_id"]
    graph = load_whole_graph(folder / "graph").append(
        log.filter(~pl.col("event_id").is_in(known.implode()))
    )
    embeddings = embed(model.model, model.encoder, graph)
    frame = profile_frame(graph)
    scores = score_users(model.profile, frame, embeddings[USER])
    profiles = {p.user_id: p for p in Profile.objects.filter(workspace=workspace)}
    assert set(profiles) == set(frame["user_id"])
    for known_now, row in zip(frame.to_dicts(), scores.to_dicts(), strict=True):
        profile = profiles[row["user_id"]]
        np.testing.assert_allclose(profile.embedding, row["embedding"], atol=2e-5)
        assert profile.final_score == pytest.approx(row["final_score"], abs=2e-5)
        assert {name for name, hit in profile.rule_hits.items() if hit} == set(row["rule_hits"])
        counts = {
            name.removeprefix("event_counts."): count
            for name, count in known_now.items()
            if name.startswith("event_counts.") and count
        }
        assert profile.event_counts == profile.scored_counts == counts
        assert (profile.changed_at, profile.model_version_id) == (None, version.pk)
    for kind in ("product", "app"):
        items = dict(
            Item.objects.filter(workspace=workspace, type=kind).values_list("item_id", "embedding")
        )
        assert set(items) == set(graph.node_ids[kind])
        for item_id, embedding in zip(graph.node_ids[kind], embeddings[kind], strict=True):
            np.testing.assert_allclose(items[item_id], embedding, atol=2e-5)


def test_scores_follow_the_events(workspace, account, tmp_path):
    before = Profile.objects.get(workspace=workspace, user_id="u00001")
    with running(workspace, account):
        for seed in range(3):
            events = some_events(workspace, 40, seed)
            assert send(workspace, *events, *events[:5]).accepted == 40
        send(workspace, event("order", "u00001", "brand-new", "product"))
        wait(lambda: is_fresh(workspace))
        now = state(workspace)
        assert (now["events"], now["backlog"]["rows"]) == (121, {"user": 0, "product": 0, "app": 0})
        assert now["edges_per_event"] > 0
        # Sent again it is a duplicate, and nothing happens.
        assert send(workspace, *events).accepted == 0
    check_against_a_full_pass(workspace, tmp_path)
    after = Profile.objects.get(workspace=workspace, user_id="u00001")
    assert after.revision > before.revision
    assert after.recommendations == before.recommendations
    assert Profile.objects.get(workspace=workspace, user_id="new-0-0").final_score is not None


FAILPOINTS = {
    "while it loads": (incremental_state, "load_whole_graph", 0),
    "before the first commit": (refreshing_module, "refreshing", 0),
    "before a later commit": (refreshing_module, "refreshing", 4),
    "inside a commit": (owning, "publish", 3),
    "before the checkpoint is recorded": (owning, "save_checkpoint", 0),
    "before the second checkpoint is recorded": (owning, "save_checkpoint", 1),
    "after the checkpoint was recorded": (incremental, "store", 0),
    "while it reads the log": (refreshing_module, "event_frame", 2),
    "while it scores": (refreshing_module, "score", 2),
}


@pytest.mark.parametrize("name", FAILPOINTS)
def test_killed_anywhere_it_loses_and_repeats_nothing(
    workspace, account, tmp_path, monkeypatch, settings, name
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
    switching.start(workspace=workspace, account=account)
    owner = Owner(workspace)
    seed = 0
    while owner.thread.is_alive():
        send(workspace, *some_events(workspace, 10, seed))
        seed += 1
        owner.thread.join(0.2)
        assert seed < 200
    assert owner.join() == "killed"
    send(workspace, *some_events(workspace, 10, 1000))
    assert state(workspace)["state"] in {"starting", "running"}, "the lease has not ended yet"
    Run.objects.filter(pk=owner.run.pk).update(lease_expires_at=Now() - timedelta(seconds=1))
    assert state(workspace)["state"] == "lost"
    assert reaper.reap()["lost"] == 1
    second = Owner(workspace)
    assert second.run.attempt == (1 if Loop.objects.get(pk=workspace.pk).ticks else 2)
    wait(lambda: is_fresh(workspace))
    check_against_a_full_pass(workspace, tmp_path)
    send(workspace, *some_events(workspace, 10, 1001))
    wait(lambda: is_fresh(workspace))
    switching.stop(workspace=workspace, account=account)
    assert second.join() == "done"
    check_against_a_full_pass(workspace, tmp_path)
    kept = Artifact.objects.filter(name=owning.CHECKPOINT, key__contains="/incremental/")
    assert kept.count() <= 1, "older checkpoints are removed"


def test_a_stale_owner_writes_nothing(workspace, account, tmp_path, monkeypatch):
    """The first owner sleeps in the middle of a tick; the second one works meanwhile."""
    asleep, go_on = threading.Event(), threading.Event()
    original = refreshing_module.score
    written = []

    def sleeping(*args):
        found = original(*args)
        if not asleep.is_set():
            asleep.set()
            assert go_on.wait(60)
            written.extend(user.user_id for user in found)
        return found

    monkeypatch.setattr(refreshing_module, "score", sleeping)
    switching.start(workspace=workspace, account=account)
    first = Owner(workspace)
    wait(lambda: state(workspace)["state"] == "running")
    send(workspace, event("order", "u00003", "brand-new", "product"))
    assert asleep.wait(60)
    Run.objects.filter(pk=first.run.pk).update(lease_expires_at=Now() - timedelta(seconds=1))
    assert reaper.reap()["lost"] == 1
    second = Owner(workspace)
    send(workspace, *some_events(workspace, 20, 1))
    wait(lambda: is_fresh(workspace))
    revisions = dict(Profile.objects.values_list("user_id", "revision"))
    go_on.set()
    assert first.join() == "fenced"
    assert written, "it had something to write"
    assert dict(Profile.objects.values_list("user_id", "revision")) == revisions
    switching.stop(workspace=workspace, account=account)
    assert second.join() == "done"
    check_against_a_full_pass(workspace, tmp_path)


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


def test_a_new_version_makes_it_begin_anew(workspace, account, client, tmp_path):
    with running(workspace, account):
        send(workspace, *some_events(workspace, 20, 1))
        rule = {"name": "pays", "expression": "monthly_fee > 1", "weight": 2.0}
        assert client.post("/api/v1/rules/", rule, format="json").status_code == 201
        do_queued()
        wait(lambda: is_fresh(workspace))
        now = state(workspace)
        assert now["model_version"]["number"] == active_version(workspace).number == 2
        send(workspace, *some_events(workspace, 20, 2))
        wait(lambda: is_fresh(workspace))
        check_against_a_full_pass(workspace, tmp_path)
        assert (
            client.post("/api/v1/models/rollback/", {"reason": "no"}, format="json").status_code
            == 202
        )
        send(workspace, *some_events(workspace, 20, 3))
        do_queued()
        wait(lambda: is_fresh(workspace) and state(workspace)["model_version"]["number"] == 1)
    check_against_a_full_pass(workspace, tmp_path)


def test_it_is_given_up_when_it_gets_nowhere(workspace, account, client, monkeypatch, settings):
    settings.RUN_ATTEMPTS = 3

    def broken(*args):
        raise ValueError("no such graph")

    monkeypatch.setattr(incremental_state, "load_whole_graph", broken)
    switching.start(workspace=workspace, account=account)
    for attempt in (1, 2, 3):
        Run.objects.filter(status=RunStatus.QUEUED).update(available_at=Now())
        owner = Owner(workspace)
        assert owner.run.attempt == attempt
        assert owner.join() == "let go"
    told = state(workspace)
    assert told["state"] == "failed"
    assert "no such graph" in told["trouble"]
    assert "start the incremental refresh again" in told["trouble"]
    monkeypatch.undo()
    with running(workspace, account):
        assert state(workspace)["trouble"] == ""


def test_told_to_stop_with_its_worker_it_hands_back_at_once(workspace, account, monkeypatch):
    switching.start(workspace=workspace, account=account)
    owner = Owner(workspace)
    wait(lambda: state(workspace)["state"] == "running")
    incremental.stopping.set()
    try:
        assert owner.join() == "let go"
    finally:
        incremental.stopping.clear()
    following = switching.runs_of(workspace.pk).get(status=RunStatus.QUEUED)
    assert following.attempt == 1, "it did what it should: that is no failed attempt"


def test_another_schema_ends_it_with_a_sentence(workspace, account):
    switching.start(workspace=workspace, account=account)
    owner = Owner(workspace)
    wait(lambda: state(workspace)["state"] == "running")
    schema = workspace.schema | {
        "edges": [
            *workspace.schema["edges"],
            {"source": "user", "relation": "likes", "target": "app", "event": "like"},
        ]
    }
    Workspace.objects.filter(pk=workspace.pk).update(schema=schema)
    send(Workspace.objects.get(pk=workspace.pk), event("like", "u00001", "a1", "app"))
    assert owner.join() == "failed"
    told = state(workspace)
    assert (told["state"], "run a refresh task" in told["trouble"]) == ("failed", True)


def test_a_checkpoint_that_is_gone_costs_a_full_pass_only(workspace, account, tmp_path, settings):
    settings.INCREMENTAL_CHECKPOINT_SECONDS = 0
    with running(workspace, account):
        send(workspace, *some_events(workspace, 20, 1))
        wait(lambda: state(workspace)["checkpoint_at"] and is_fresh(workspace))
    saved = Loop.objects.get(pk=workspace.pk).checkpoint
    store().remove([saved.key])
    with running(workspace, account):
        wait(lambda: is_fresh(workspace))
    check_against_a_full_pass(workspace, tmp_path)


def test_an_audit_is_published_and_a_bad_one_begins_anew(workspace, account, monkeypatch):
    monkeypatch.setattr(incremental, "AUDIT_TICKS", 3)
    with running(workspace, account):
        for seed in range(3):
            send(workspace, *some_events(workspace, 10, seed))
            wait(lambda: is_fresh(workspace))
        assert wait(lambda: state(workspace)["audit_at"])
        assert state(workspace)["audit_error"] < 1e-4
        epoch = Loop.objects.get(pk=workspace.pk).epoch
        loads = []
        original = incremental.from_version
        monkeypatch.setattr(
            incremental, "from_version", lambda *args: loads.append(1) or original(*args)
        )
        monkeypatch.setattr(incremental, "AUDIT_LIMIT", -1.0)
        send(workspace, *some_events(workspace, 10, 9))
        wait(lambda: loads)
        monkeypatch.setattr(incremental, "AUDIT_LIMIT", 1.0)
        wait(lambda: is_fresh(workspace))
        assert Loop.objects.get(pk=workspace.pk).epoch == epoch
