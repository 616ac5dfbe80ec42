"""A workspace after its first refresh, its loop, and what it must come to."""

import threading
import time
import uuid
from contextlib import contextmanager

import kept_rows
import numpy as np
import polars as pl
import pytest
from django.core.management import call_command
from django.db import connections
from rest_framework.test import APIClient

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.operations.incremental import state
from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.accounts.services import create_workspace
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.services import fetch_all
from controlcenter.platform.log.positions import current_position
from controlcenter.platform.runs.models import Run, RunStatus
from controlcenter.serving.incremental import services
from controlcenter.serving.incremental.models import Loop
from controlcenter.serving.ingestion.services import ingest
from controlcenter.serving.profiles.models import Item, Profile
from ml.contracts.schema import USER
from ml.fusion.evidence import profile_frame
from ml.fusion.scoring import score_users
from ml.hgt.model import embed
from workers.app import STAGES
from workers.files import load_model, load_whole_graph
from workers.log_edges import load_position, read_log
from workers.loops import incremental
from workers.runtime.runner import execute

SYNTHESIS = {"users": 60, "events": 1500, "products": 8, "apps": 5, "seed": 3}


class Killed(BaseException):
    """What the worker dies of: nothing of it runs any more."""


def module(kind):
    return __import__(STAGES[kind], fromlist=["work"])


def do_queued():
    """Do all background work but the loops, as workers do."""
    queued = Run.objects.filter(status=RunStatus.QUEUED).exclude(kind=services.KIND)
    while (run := queued.order_by("created_at").first()) is not None:
        assert execute(str(run.pk), module(run.kind).work) == "done", run.kind


def client_of(account):
    found = APIClient()
    found.force_authenticate(account)
    return found


@pytest.fixture(scope="session")
def first_refresh(django_db_setup, django_db_blocker):
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
def scored(first_refresh, transactional_db, monkeypatch):
    """A workspace after its first refresh."""
    monkeypatch.setattr("workers.runtime.heartbeat.BEAT_SECONDS", 0.1)
    monkeypatch.setattr(incremental, "IDLE_SECONDS", 0.2)
    kept_rows.put_back()
    return Workspace.objects.get(slug="alpha")


@pytest.fixture
def anna(scored):
    return Account.objects.get(username="anna")


@pytest.fixture
def as_anna(anna):
    return client_of(anna)


def refresh(client, dataset=None, **parameters):
    body = {
        "dataset": str((dataset or Dataset.objects.first()).pk),
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
        self.run = services.runs_of(workspace.pk).get(status=RunStatus.QUEUED)
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
    services.start(workspace=workspace, account=account)
    owner = Owner(workspace)
    wait(lambda: state(workspace)["state"] == "running")
    try:
        yield owner
    finally:
        services.stop(workspace=workspace, account=account)
        outcome = owner.join()
    assert outcome == "done"


def check_against_a_full_pass(workspace, tmp_path):
    """Profiles and items are what a full pass over the newest graph and the log gives."""
    version = Loop.objects.get(pk=workspace.pk).version
    folder = tmp_path / uuid.uuid4().hex
    fetch_all(version.files.all(), folder / "model")
    built = Run.objects.filter(workspace=workspace, kind="building", status=RunStatus.DONE)
    newest = built.latest("finished_at")
    fetch_all(Artifact.objects.filter(run_id=newest.pk), folder / "graph")
    model = load_model(folder / "model", "cpu")
    mark = load_position(folder / "graph")
    log = read_log(workspace.pk, until=current_position())
    known = read_log(workspace.pk, until=mark)["event_id"]
    graph = load_whole_graph(folder / "graph").append(
        log.filter(~pl.col("event_id").is_in(known.implode()))
    )
    embeddings = embed(model.model, model.encoder, graph, now=model.now)
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
