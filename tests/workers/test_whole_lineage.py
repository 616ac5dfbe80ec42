"""What real workers leave is what the lineage reads: a loop of two iterations, then a rescoring."""

import json

import pytest
from msgspec import structs
from rest_framework.test import APIClient

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.registry.queries import active_version
from controlcenter.modelling.rollouts.services import rescore
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.accounts.models import Account
from controlcenter.platform.accounts.services import create_workspace
from controlcenter.platform.artifacts.services import fetch_all
from controlcenter.platform.runs.models import Run, RunStatus
from ml.contracts.reports.suggestions import Suggestion, SuggestionEvidence
from workers.app import STAGES
from workers.runtime.runner import execute
from workers.stages import evaluating

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/api/v1/lineage/"


def do_queued():
    while (run := Run.objects.filter(status=RunStatus.QUEUED).first()) is not None:
        module = __import__(STAGES[run.kind], fromlist=["work"])
        assert execute(str(run.pk), module.work) == "done", Run.objects.get(pk=run.pk).error


def with_a_suggestion(original):
    def report_on(execution, model, graph):
        suggestion = Suggestion(
            action="augment", automatic=True, edge_type="user-orders-product", factor=2,
            because="x", evidence=SuggestionEvidence(),
        )  # fmt: skip
        return structs.replace(original(execution, model, graph), suggestions=[suggestion])

    return report_on


@pytest.fixture
def client(db, monkeypatch):
    monkeypatch.setattr(evaluating, "report_on", with_a_suggestion(evaluating.report_on))
    account = Account.objects.create_user("anna")
    create_workspace(slug="alpha", name="Alpha", owner=account)
    found = APIClient()
    found.force_authenticate(account)
    body = {"users": 80, "events": 2500, "products": 10, "apps": 6, "seed": 3}
    assert found.post("/api/v1/datasets/synthesize/", body, format="json").status_code == 202
    do_queued()
    return found


def test_from_the_upload_to_the_profiles_and_back(client, tmp_path):
    raw = Dataset.objects.get()
    body = {
        "workflow": "continuous",
        "dataset": str(raw.pk),
        "parameters": {"epochs": 1, "fusion_epochs": 5, "max_iterations": 2},
    }
    answer = client.post("/api/v1/tasks/", body, format="json")
    assert answer.status_code == 201
    task = Task.objects.get(pk=answer.data["id"])
    do_queued()
    version = active_version(task.workspace.pk)
    again = rescore(task.workspace, None, version, "again")
    do_queued()

    told = client.get(URL, {"dataset": str(raw.pk)}).json()
    runs = {(r.kind, r.iteration): f"graph:{r.pk}" for r in task.runs.filter(kind="building")}
    graphs = {n: runs["building", n] for n in (0, 1)}
    newest = f"graph:{again.runs.get(kind='building').pk}"
    versions = {v.iteration: v for v in ModelVersion.objects.filter(task_id=task.pk)}
    reports = {r.iteration: f"evaluation:{r.pk}" for r in EvaluationReport.objects.all()}
    key = {n: f"version:{versions[n].pk}" for n in (0, 1)}
    derived = {n: f"dataset:{versions[n].dataset_id}" for n in (0, 1)}
    root, profiles = f"dataset:{raw.pk}", {n: f"profiles:{versions[n].pk}" for n in (0, 1)}
    expected = {(reports[0], derived[1], "suggested")}
    for n in (0, 1):
        expected |= {
            (root, derived[n], "optimized"),
            (derived[n], graphs[n], "built"),
            (graphs[n], key[n], "trained"),
            (key[n], reports[n], "evaluated"),
        }
    expected |= {
        (derived[version.iteration], newest, "built"),
        (newest, profiles[version.iteration], "scored"),
        (key[0], profiles[0], "scored"),  # the first iteration wrote them in any case
        (key[version.iteration], profiles[version.iteration], "scored"),
    }
    assert {(e["source"], e["target"], e["how"]) for e in told["edges"]} == expected
    assert told["truncated"] is False

    nodes = {node["key"]: node for node in told["nodes"]}
    assert nodes[root]["numbers"]["users"] == 80
    assert nodes[graphs[0]]["numbers"]["user_nodes"] == 80
    assert nodes[profiles[version.iteration]]["numbers"]["users"] == 80
    files = versions[0].files.filter(name__startswith="model/")
    folder = fetch_all(files, tmp_path)
    manifests = [json.loads(p.read_text()) for p in sorted(folder.rglob("*.json"))]
    hashes = {m["data_hash"] for m in manifests if isinstance(m, dict) and "data_hash" in m}
    assert hashes == {nodes[graphs[0]]["hashes"]["files"]}

    events = client.get(f"{URL}openlineage/").content.decode().splitlines()
    ended = [e for e in map(json.loads, events) if e["eventType"] == "COMPLETE"]
    outputs = [one["name"] for e in ended for one in e["outputs"]]
    assert len(ended) == Run.objects.count() + Task.objects.count()
    for kind, count in (("upload", 1), ("dataset", 3), ("graph", 3), ("model", 2)):
        assert sum(name.startswith(f"{kind}/") for name in outputs) == count, kind
