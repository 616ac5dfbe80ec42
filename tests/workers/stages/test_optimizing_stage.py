"""The stage that makes derived datasets, and what the next stage reads of them."""

import io
import uuid
import zipfile

import numpy as np
import polars as pl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from msgspec import structs
from rest_framework.test import APIClient

from controlcenter.modelling.datasets import deriving
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.datasets.services import checked_tables
from controlcenter.modelling.tasks import services, states
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.spec.parameters import defaults
from controlcenter.modelling.tasks.stages import outputs
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.accounts.models import Account
from controlcenter.platform.accounts.services import create_workspace
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.services import fetch_all
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.runs.models import Run, RunStatus
from controlcenter.serving.ingestion.services import ingest
from ml.contracts.reports.suggestions import Suggestion
from ml.data.frames import load_tables
from ml.graph.splits import split_graph
from ml.optimizing.added import separate
from workers.files import (
    ADDED,
    COUNTS,
    LAST_EVENTS,
    PEERS,
    learning_graph,
    load_training_graph,
    load_whole_graph,
)
from workers.runtime.runner import execute
from workers.stages import (
    building,
    embedding,
    evaluating,
    optimizing,
    synthesis,
    training,
    validation,
)

pytestmark = pytest.mark.django_db(transaction=True)
CONFIG = {"users": 120, "products": 30, "apps": 12, "events": 1500, "communities": 3, "seed": 3}
ORDERS = {
    "action": "augment", "automatic": True, "edge_type": "user-orders-product", "factor": 2,
    "sources": "1-4", "because": "Recall@20 .08 against .31", "evidence": {"gap": 0.23},
}  # fmt: skip
USES = {"action": "augment", "edge_type": "user-uses-app", "factor": 3}
ADVICE = {"action": "collect", "automatic": False, "what": "label", "because": "there is none"}


@pytest.fixture
def account(monkeypatch):
    monkeypatch.setattr("workers.runtime.heartbeat.BEAT_SECONDS", 0.05)
    return Account.objects.create_user("anna")


@pytest.fixture
def workspace(account):
    return create_workspace(slug="alpha", name="Alpha", owner=account)


@pytest.fixture
def client(account, workspace):
    client = APIClient()
    client.force_authenticate(account)
    return client


@pytest.fixture
def raw(client):
    answer = client.post("/api/v1/datasets/synthesize/", CONFIG, format="json")
    do("synthesis", synthesis.work)
    do("validation", validation.work)
    return Dataset.objects.get(pk=answer.json()["id"])


def do(kind, work):
    run = Run.objects.get(kind=kind, status=RunStatus.QUEUED)
    assert execute(str(run.pk), work) == "done", Run.objects.get(pk=run.pk).error
    return Run.objects.get(pk=run.pk)


def make_task(raw, workflow=Workflow.CONTINUOUS, **parameters):
    task = Task.objects.create(
        workspace=raw.workspace, dataset=raw, workflow=workflow, created_by=raw.created_by,
        parameters=defaults() | parameters,
    )  # fmt: skip
    services.queue_first(task)
    return task


def pass_on(metrics=None):
    """A stage that does nothing but commit."""

    def work(execution):
        execution.commit(lambda commit: commit.metrics.update(metrics or {}))

    return work


def to_the_next_iteration(task, *suggestions):
    """The stages between, with an evaluation that says this."""
    do("training", pass_on())
    do("embedding", pass_on())
    told = {"metrics": {"links.mrr": 0.5}, "suggestions": list(suggestions)}
    do("evaluating", pass_on(told))
    assert Task.objects.get(pk=task.pk).state == states.OPTIMIZING


def iterate(task):
    """Optimizing and building of the present iteration."""
    optimized = do("optimizing", optimizing.work)
    do("building", building.work)
    return optimized, Task.objects.get(pk=task.pk)


def tables_of(dataset, tmp_path):
    return load_tables(fetch_all(checked_tables(dataset), tmp_path / uuid.uuid4().hex))


def built(task, tmp_path):
    return fetch_all(outputs(task, states.BUILDING), tmp_path / uuid.uuid4().hex)


def same_graph(one, other):
    assert one.node_ids == other.node_ids
    for key in one.edges:
        for name in ("src", "dst", "time"):
            assert np.array_equal(getattr(one.edges[key], name), getattr(other.edges[key], name))


def stored(dataset):
    return set(Artifact.objects.filter(run_id=dataset.checked_run_id).values_list("key", "sha256"))


def test_the_raw_dataset_stays_and_building_reads_the_derived_one(client, workspace, tmp_path):
    users = "user_id,monthly_fee\n" + "".join(f"u{n},{n}\n" for n in range(5))
    events = "type,actor,target,timestamp,target_type\n" + 3 * (
        "call,u1,u2,2026-01-01T00:00:00Z,user\n"
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("users.csv", users)
        archive.writestr("events.csv", events + "use,u1,a1,2026-01-02T00:00:00Z,app\n")
    file = SimpleUploadedFile("all.zip", content.getvalue())
    key = client.post("/api/v1/datasets/", {"file": file, "name": "calls"}).json()["id"]
    do("validation", validation.work)
    raw = Dataset.objects.get(pk=key)
    before, row = stored(raw), Dataset.objects.filter(pk=key).values().get()
    task = make_task(raw, Workflow.STANDARD)
    optimized, task = iterate(task)
    assert execute(str(optimized.pk), optimizing.work) == "dropped"

    derived = Dataset.objects.get(source=raw)
    assert (derived.name, derived.state) == ("calls, optimized 1", "ready")
    assert derived.size == sum(a.size for a in checked_tables(derived))
    assert derived.schema_hash == raw.schema_hash
    assert task.dataset == raw
    assert optimized.metrics["dataset"] == str(derived.pk)
    assert (optimized.metrics["before"]["events"], optimized.metrics["after"]["events"]) == (4, 2)
    events = derived.report["tables"]["events"]
    assert [events[f"rows_{n}"] for n in ("read", "rejected", "added", "kept")] == [4, 2, 0, 2]
    assert [step["name"] for step in derived.report["steps"]] == ["clean", "deduplicate"]
    assert tables_of(derived, tmp_path).events.height == 2
    assert AuditEntry.objects.get(action="dataset.derive").target_id == str(derived.pk)

    assert stored(raw) == before
    assert Dataset.objects.filter(pk=key).values().get() == row
    assert tables_of(raw, tmp_path).events.height == 4
    assert load_whole_graph(built(task, tmp_path)).num_events == 2


@pytest.mark.parametrize(
    "parameters",
    [{}, {"keep_timestamps": False}, {"scope": "sampled", "sample_ratio": 0.7}],
    ids=["timed", "untimed", "sampled"],
)
def test_suggestions_change_what_is_learned_and_nothing_else(raw, tmp_path, parameters):
    """Though the event log grows in between."""
    task = make_task(raw, **parameters)
    send(raw, "order", 20)
    first, task = iterate(task)
    folder = built(task, tmp_path)
    assert first.metrics["actions"] == []
    assert not (folder / ADDED).exists()
    to_the_next_iteration(task, ORDERS, ADVICE, USES)
    send(raw, "use", 20)
    second, task = iterate(task)
    assert second.metrics["actions"] == [ORDERS, USES]
    derived = Dataset.objects.get(pk=second.metrics["dataset"])
    assert derived.name.endswith(", optimized 2")
    assert derived.source == raw
    real, added = separate(tables_of(derived, tmp_path))
    assert added.height > 20
    assert real.events.equals(tables_of(first_derived(raw), tmp_path).events)
    steps = derived.report["steps"]
    assert [step["name"] for step in steps] == ["clean", "deduplicate", "augment", "augment"]
    assert steps[2]["because"] == ORDERS["because"]

    again = built(task, tmp_path)
    one, other = load_training_graph(folder), load_training_graph(again)
    same_graph(one, other)
    same_graph(load_whole_graph(folder), load_whole_graph(again))
    for name in (COUNTS, PEERS, LAST_EVENTS):
        frames = [pl.read_parquet(where / name) for where in (folder, again)]
        columns = frames[0].columns
        assert frames[0].sort(columns).equals(frames[1].sort(columns))
    split = split_graph(other, seed=task.parameters["seed"])
    assert learning_graph(split, folder) is split.train
    assert learning_graph(split, again, temporal=True) is split.train
    more = learning_graph(split, again)
    users = set(other.node_ids["user"])
    assert more.num_events == split.train.num_events + added["actor"].is_in(list(users)).sum()
    for key in split.train.edges:
        targets = other.num_nodes[key[2]]
        held = {int(s) * targets + int(t) for part in (split.validation, split.test)
                for s, t in zip(part[key].src, part[key].dst, strict=True)}  # fmt: skip
        new = more.edges[key].take(np.arange(len(split.train.edges[key]), len(more.edges[key])))
        assert not held & set((new.src * targets + new.dst).tolist())
        if new.time is not None and len(new):
            assert new.time.max() < split.cuts[0]


def first_derived(raw):
    return Dataset.objects.filter(source=raw).order_by("created_at").first()


def send(raw, kind, count):
    """Events of the log, by users that the dataset has, in the present and in the past."""
    target = {"order": "P", "use": "A"}[kind]
    names = {"order": "product", "use": "app"}
    events = [
        {
            "event_id": str(uuid.uuid4()), "type": kind,
            "timestamp": f"20{24 + n % 3}-01-{n + 1:02}T12:00:00Z",
            "payload": {"actor": f"log-user-{n % 4}", "target": f"{target}-new-{n}",
                        "target_type": names[kind]},
        }
        for n in range(count)
    ]  # fmt: skip
    ingest(workspace=raw.workspace, events=events)


def test_what_was_done_is_done_again_unless_a_newer_suggestion_says_otherwise(raw):
    task = make_task(raw)
    _, task = iterate(task)
    to_the_next_iteration(task, ORDERS)
    _, task = iterate(task)
    stronger = {**ORDERS, "factor": 4}
    to_the_next_iteration(task, stronger, USES)
    third, task = iterate(task)
    assert task.iteration == 2
    assert third.metrics["actions"] == [stronger, USES]
    names = Dataset.objects.filter(source=raw).order_by("created_at").values_list("name", flat=True)
    assert [name.rpartition(" ")[2] for name in names] == ["1", "2", "3"]


def test_a_suggestion_that_cannot_be_carried_out_fails_the_task_with_a_sentence(raw):
    task = make_task(raw)
    _, task = iterate(task)
    to_the_next_iteration(task, {**ORDERS, "factor": 99})
    run = Run.objects.get(kind="optimizing", status=RunStatus.QUEUED)
    assert execute(str(run.pk), optimizing.work) == "failed"
    task.refresh_from_db(fields=["error"])
    assert "factor is 99, expected a number above 1, at most 10" in task.error
    assert not Run.objects.get(pk=run.pk).traceback
    assert Dataset.objects.filter(source=raw).count() == 1


def test_a_cancel_and_a_lost_lease_leave_no_dataset(raw, monkeypatch):
    task = make_task(raw)
    run = Run.objects.get(kind="optimizing")
    carry_out = optimizing.optimize

    def taken_away(*args, **kwargs):
        Run.objects.filter(pk=run.pk).update(epoch=0)
        return carry_out(*args, **kwargs)

    monkeypatch.setattr(optimizing, "optimize", taken_away)
    assert execute(str(run.pk), optimizing.work) == "fenced"
    assert not Dataset.objects.filter(source=raw).exists()
    Run.objects.filter(pk=run.pk).update(status=RunStatus.QUEUED, epoch=None)

    def cancelled(*args, progress, **kwargs):
        services.cancel(task=task, account=None)
        while True:
            progress(0.5, "still at it")

    monkeypatch.setattr(optimizing, "optimize", cancelled)
    assert execute(str(run.pk), optimizing.work) == "cancelled"
    assert not Dataset.objects.filter(source=raw).exists()
    assert Task.objects.get(pk=task.pk).state == states.CANCELLED


def test_a_commit_that_breaks_leaves_no_dataset_and_the_next_attempt_one(raw, monkeypatch):
    make_task(raw)
    derive = deriving.commit_derived

    def breaks(*args, **kwargs):
        derive(*args, **kwargs)
        raise ConnectionError("cut")

    run = Run.objects.get(kind="optimizing")
    monkeypatch.setattr(optimizing, "commit_derived", breaks)
    assert execute(str(run.pk), optimizing.work) == "failed"
    assert not Dataset.objects.filter(source=raw).exists()
    assert not Artifact.objects.filter(run_id=run.pk).exists()


def test_a_derived_dataset_that_is_gone_fails_building_with_a_sentence(raw):
    task = make_task(raw)
    do("optimizing", optimizing.work)
    Dataset.objects.filter(source=raw).update(checked_run_id=None, state="deleted")
    run = Run.objects.get(kind="building", status=RunStatus.QUEUED)
    assert execute(str(run.pk), building.work) == "failed"
    task.refresh_from_db(fields=["error"])
    assert "was deleted: create the task again" in task.error


def test_a_task_on_a_derived_dataset_keeps_added_events_out_of_the_graph(raw, tmp_path):
    task = make_task(raw)
    _, task = iterate(task)
    graph = load_whole_graph(built(task, tmp_path))
    to_the_next_iteration(task, ORDERS)
    second, task = iterate(task)
    services.cancel(task=task, account=None)
    derived = Dataset.objects.get(pk=second.metrics["dataset"])
    later = make_task(derived, Workflow.REFRESH)
    do("building", building.work)
    folder = built(Task.objects.get(pk=later.pk), tmp_path)
    same_graph(graph, load_whole_graph(folder))
    assert pl.read_parquet(folder / ADDED).height > 10


def test_baselines_measure_the_same_in_every_iteration(raw, monkeypatch):
    """They are made of what was known and asked on the held-out links alone: both are the same."""
    report_on = evaluating.report_on

    def suggesting(execution, model, graph):
        whole = {"automatic": True, "because": "x", "evidence": {}}
        suggestions = [Suggestion.from_dict(whole | one) for one in (ORDERS, USES)]
        return structs.replace(report_on(execution, model, graph), suggestions=suggestions)

    monkeypatch.setattr(evaluating, "report_on", suggesting)
    task = make_task(raw, epochs=1, fusion_epochs=5, max_iterations=2)
    for _ in range(2):
        iterate(task)
        do("training", training.work)
        do("embedding", embedding.work)
        do("evaluating", evaluating.work)
        send(raw, "order", 20)
    trained = Run.objects.filter(owner_id=task.pk, kind="training").order_by("iteration")
    first, second = (run.metrics["links"]["edge_types"] for run in trained)
    assert set(first) == set(second) != set()
    for name, told in first.items():
        again = second[name]
        assert told["popularity"] == again["popularity"]
        assert told["repeat"] == again["repeat"]
        parts = ({key: part["evaluated"] for key, part in one["slices"].items()}
                 for one in (told, again))  # fmt: skip
        assert next(parts) == next(parts)
    assert any(told["model"] != second[name]["model"] for name, told in first.items())
