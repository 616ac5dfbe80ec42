"""The lineage in the API: what it tells of each thing, what it refuses, what strangers see."""

import uuid

import pytest
from controlcenter_fixtures import make_dataset
from lineage_fixtures import History, version_of

from controlcenter.lineage.files import digest
from controlcenter.modelling.datasets import services as datasets
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.serving.profiles.models import Profile

pytestmark = pytest.mark.django_db
URL = "/api/v1/lineage/"


@pytest.fixture
def history(workspace, owner):
    return History(workspace, owner)


@pytest.fixture
def done(history, ready_dataset):
    return history.run(history.task("standard", ready_dataset))


def get(client, **query):
    answer = client.get(URL, query)
    assert answer.status_code == 200, answer.content
    body = answer.json()
    keys = [node["key"] for node in body["nodes"]]
    assert len(set(keys)) == len(keys)
    assert {end for e in body["edges"] for end in (e["source"], e["target"])} <= set(keys)
    return body


def by_kind(body):
    return {node["kind"]: node for node in body["nodes"]}


def test_each_node_says_when_by_whom_and_how_much(as_viewer, done, ready_dataset):
    version = version_of(done)
    found = by_kind(get(as_viewer, version=version.pk))
    assert set(found) == {
        "dataset", "derived_dataset", "graph", "version", "evaluation", "profiles",
    }  # fmt: skip
    runs = {run.kind: str(run.pk) for run in done.runs.all()}
    stages = {
        "derived_dataset": "optimizing", "graph": "building", "version": "training",
        "evaluation": "evaluating", "profiles": "embedding",
    }  # fmt: skip
    for kind, stage in stages.items():
        made = (found[kind]["task"], found[kind]["iteration"], found[kind]["run"])
        assert made == (str(done.pk), 0, runs[stage]), kind
    assert found["derived_dataset"]["numbers"] == {
        "users": 4, "products": 2, "apps": 1, "events": 6, "bytes": 20,
    }  # fmt: skip
    graph = found["graph"]
    assert graph["id"] == runs["building"]
    assert graph["numbers"] == {
        "user_nodes": 4, "app_nodes": 1, "events": 6, "events_of_the_log": 2, "files": 2,
        "bytes": 20,
    }  # fmt: skip
    files = Artifact.objects.filter(run_id=graph["id"])
    assert graph["hashes"] == {"files": digest(sorted(files, key=lambda file: file.name))}
    assert found["version"]["hashes"] == {"schema": version.schema_hash, "code": "abc123"}
    assert (found["version"]["state"], found["dataset"]["state"]) == ("active", "ready")
    assert found["evaluation"]["numbers"] == {"links.mrr": 0.0, "suggestions": 1}
    assert found["profiles"]["numbers"] == {"users": 3}
    assert all(node["at"] and node["exists"] for node in found.values())


def test_the_four_ways_to_ask_meet(as_viewer, done, ready_dataset):
    version = version_of(done)
    whole = get(as_viewer, dataset=ready_dataset.pk)
    assert whole["asked"] == [f"dataset:{ready_dataset.pk}"]
    assert len(whole["nodes"]) == 6
    for query in ({"version": version.pk}, {"task": done.pk}, {"dataset": version.dataset_id}, {}):
        body = get(as_viewer, **query)
        assert {n["key"] for n in body["nodes"]} == {n["key"] for n in whole["nodes"]}, query
        assert body["edges"] == whole["edges"]


def test_of_a_user_only_what_the_profile_was_made_from(as_viewer, done, history):
    body = get(as_viewer, user="u1")
    assert body["asked"] == ["profile:u1"]
    assert set(by_kind(body)) == {"dataset", "derived_dataset", "graph", "version", "profile"}
    told = by_kind(body)["profile"]
    assert (told["id"], told["task"]) == ("u1", str(done.pk))
    again = history.rescore(version_of(done))
    body = get(as_viewer, user="u1")
    graphs = [node for node in body["nodes"] if node["kind"] == "graph"]
    assert {node["task"] for node in graphs} == {str(done.pk), str(again.pk)}
    bare = Profile.objects.create(workspace=history.workspace, user_id="bare/slash")
    assert len(get(as_viewer, user=bare.user_id)["nodes"]) == 1


@pytest.mark.parametrize(("basis", "validated"), [("rules", False), ("label", True), ("", None)])
def test_a_users_score_says_whether_it_is_validated(as_viewer, workspace, basis, validated):
    Profile.objects.create(workspace=workspace, user_id="u", final_score=0.5, score_basis=basis)
    (told,) = get(as_viewer, user="u")["nodes"]
    assert told["numbers"]["score"] == 0.5
    assert told["score_validated"] is validated


@pytest.mark.parametrize("validated", [False, True, None])
def test_an_evaluation_says_whether_its_score_is_validated(as_viewer, done, validated):
    score = {} if validated is None else {"validated": validated}
    ModelVersion.objects.filter(task_id=done.pk).update(metrics={"score": score})
    found = by_kind(get(as_viewer, task=done.pk))
    assert found["evaluation"]["score_validated"] is validated
    assert {node["score_validated"] for node in found.values()} <= {validated, None}


def test_a_task_shows_no_other_tasks_of_its_dataset(as_viewer, history, ready_dataset):
    first = history.run(history.task("refresh", ready_dataset))
    second = history.run(history.task("refresh", ready_dataset))
    for task, other in ((first, second), (second, first)):
        tasks = {node["task"] for node in get(as_viewer, task=task.pk)["nodes"]}
        assert str(other.pk) not in tasks
        assert str(task.pk) in tasks


def test_profiles_that_were_replaced_are_gone(as_viewer, history, ready_dataset):
    first = history.run(history.task("refresh", ready_dataset))
    history.run(history.task("refresh", ready_dataset))
    assert by_kind(get(as_viewer, task=first.pk))["profiles"]["exists"] is False


def test_what_was_deleted_stays_and_says_so(as_viewer, history, done, ready_dataset):
    derived = Dataset.objects.get(source=ready_dataset)
    for dataset in (derived, ready_dataset):
        datasets.delete(dataset=dataset, account=history.account)
    found = by_kind(get(as_viewer, task=done.pk))
    for kind in ("dataset", "derived_dataset"):
        assert (found[kind]["exists"], found[kind]["state"]) == (False, "deleted")
    assert found["graph"]["exists"] is True
    Artifact.objects.filter(run_id=found["graph"]["id"], name="counts.parquet").delete()
    assert by_kind(get(as_viewer, dataset=ready_dataset.pk))["graph"]["numbers"]["files"] == 1


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"dataset": "x"}, "dataset"),
        ({"task": "1"}, "task"),
        ({"version": ""}, "version"),
        ({"datasets": "x"}, "datasets"),
        ({"task": str(uuid.uuid4()), "user": "u1"}, "task"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(as_viewer, query, named):
    answer = as_viewer.get(URL, query)
    assert answer.status_code == 400
    assert named in {error["field"] for error in answer.json()["errors"]}


def test_other_workspaces_are_not_told_apart_from_nothing(as_stranger, done, ready_dataset):
    theirs = {
        "dataset": ready_dataset.pk, "task": done.pk, "version": version_of(done).pk, "user": "u1",
    }  # fmt: skip
    for name, value in theirs.items():
        nobody = "nobody" if name == "user" else uuid.uuid4()
        told, unknown = (as_stranger.get(URL, {name: key}) for key in (value, nobody))
        assert told.status_code == unknown.status_code == 404
        assert told.json()["detail"].replace(str(value), "…") == unknown.json()["detail"].replace(
            str(nobody), "…"
        )
        asked = as_stranger.get(URL, {name: value, "workspace": "alpha"})
        assert asked.status_code == 404
    assert get(as_stranger)["nodes"] == []


def test_a_member_of_two_workspaces_sees_one_at_a_time(owner, as_owner, done, other_workspace):
    other_workspace.memberships.create(account=owner, role="owner")
    make_dataset(other_workspace)
    assert as_owner.get(URL, {"task": done.pk, "workspace": "beta"}).status_code == 404
    assert as_owner.get(URL, {"task": done.pk, "workspace": "alpha"}).status_code == 200
