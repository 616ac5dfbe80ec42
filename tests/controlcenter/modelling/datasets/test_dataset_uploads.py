"""Uploads: what arrives is in the store, whole and hashed, or nothing is registered."""

import asyncio
import hashlib
import io
import json
import zipfile

import pytest
from controlcenter_fixtures import make_dataset, make_task
from django.core.files.uploadedfile import SimpleUploadedFile

from controlcenter.modelling.datasets.models import Dataset, DatasetState
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.store import store
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.common.middleware.body_limit import MARGIN_BYTES, BodyLimit
from controlcenter.platform.runs import claims
from controlcenter.platform.runs.commits import queue_run
from controlcenter.platform.runs.models import Outbox, Run

pytestmark = pytest.mark.django_db
URL = "/api/v1/datasets/"
CSV = b"customer;charge;churned\nc1;70.5;Yes\nc2;20;No\n"
WIDE = {
    "format": "wide",
    "columns": {
        "customer": {"role": "id"},
        "charge": {"role": "numeric", "name": "monthly_fee"},
        "churned": {"role": "label", "positive": ["Yes"]},
    },
}
YAML = """
format: wide
columns:
  customer: {role: id}
  charge: {role: numeric, name: monthly_fee}
  churned: {role: label, positive: Yes}
"""


def upload(client, content=CSV, *, filename="users.csv", **form):
    return client.post(URL, form | {"file": SimpleUploadedFile(filename, content)})


def refused(answer, *words):
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    for word in words:
        assert word in answer.json()["detail"]
    assert not Dataset.objects.exists()
    assert not Artifact.objects.exists()
    return True


def zipped(**files):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(f"{name}.csv")  # without the time: the bytes name a test
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return target.getvalue()


@pytest.mark.parametrize(
    ("filename", "content"),
    [
        ("users.csv", CSV),
        ("all.zip", zipped(users="user_id\nu1\n", events="actor,target,timestamp\n")),
        pytest.param("large.bin", bytes(range(256)) * 40_000, id="two parts"),
    ],
)
def test_an_upload_is_in_the_store_with_size_and_hash(
    as_operator, workspace, tmp_path, filename, content
):
    answer = upload(as_operator, content, filename=filename, name="mine")
    assert answer.status_code == 201
    told = answer.json()
    digest = hashlib.sha256(content).hexdigest()
    assert (told["name"], told["filename"]) == ("mine", filename)
    assert (told["state"], told["size"], told["sha256"]) == ("validating", len(content), digest)
    assert told["created_by"] == "operator"
    artifact = Dataset.objects.get(pk=told["id"]).upload
    assert artifact.key.startswith(f"datasets/{workspace.pk}/{told['id']}/raw.")
    store().fetch(artifact.key, tmp_path / "back", sha256=digest)
    assert (tmp_path / "back").read_bytes() == content
    run = Run.objects.get(kind="validation", subject=told["id"])
    assert (run.status, run.queue, run.workspace) == ("queued", "ingest", workspace)
    assert Outbox.objects.filter(run_id=run.pk, job="workers.validation").count() == 1
    assert AuditEntry.objects.get(action="dataset.upload").details["sha256"] == digest


@pytest.mark.parametrize("text", [json.dumps(WIDE), YAML, "\ufeff" + YAML])
@pytest.mark.parametrize("as_file", [False, True])
def test_a_mapping_comes_as_field_or_file_json_or_yaml(as_operator, text, as_file):
    mapping = SimpleUploadedFile("mapping.yaml", text.encode()) if as_file else text
    answer = upload(as_operator, mapping=mapping)
    assert answer.status_code == 201, answer.content
    told = answer.json()["mapping"]
    assert told["format"] == "wide"
    assert told["columns"]["charge"] == {"role": "numeric", "name": "monthly_fee"}
    assert told["columns"]["churned"]["positive"] == ["Yes"]


@pytest.mark.parametrize("text", ["", "  \n"])
def test_no_mapping_means_the_standard_tables(as_operator, text):
    assert upload(as_operator, mapping=text).json()["mapping"] is None


ALIASES = "format: &x wide\ncolumns: {a: {role: id}, b: {role: numeric, name: *x}}"
BAD_MAPPINGS = {
    "unknown role": (WIDE | {"columns": {"a": {"role": "king"}}}, "columns.a.role", "'king'"),
    "no id": (WIDE | {"columns": {"a": {"role": "numeric"}}}, "columns", "the role 'id'"),
    "unknown key": (WIDE | {"colour": 1}, "mapping", "'colour'"),
    "unknown format": ({"format": "tall"}, "format", "expected one of"),
    "a list": ("[1, 2]", "is a list, expected an object"),
    "a word": ("wide", "is a str, expected an object"),
    "broken": ("{format: wide", "is neither JSON nor YAML", "line 1"),
    "aliases": (ALIASES, "aliases (*name) are not accepted"),
    "merge of an alias": ("a: &a {b: 1}\nc: {<<: *a}", "aliases"),
    "a Python object": ("!!python/object/apply:os.getcwd []", "is neither JSON nor YAML"),
    "deep": ("[" * 20_000, "is neither JSON nor YAML"),
    "large": ("a" * 300_000, "has 300000 bytes, at most 262144"),
    "NUL": ('{"format": "wide", "columns": {"a\\u0000": {"role": "id"}}}', "NUL"),
    "surrogate": ('{"format": "wide", "columns": {"a\\ud800": {"role": "id"}}}', "surrogate"),
}


@pytest.mark.parametrize("name", BAD_MAPPINGS)
def test_a_bad_mapping_is_refused_and_the_place_named(as_operator, name):
    mapping, *words = BAD_MAPPINGS[name]
    text = mapping if isinstance(mapping, str) else json.dumps(mapping)
    assert refused(upload(as_operator, mapping=text), "mapping", *words)


def test_a_mapping_file_that_is_no_text_is_refused(as_operator):
    mapping = SimpleUploadedFile("mapping.yaml", b"\xff\xfe\x00")
    assert refused(upload(as_operator, mapping=mapping), "mapping: is not UTF-8 text")


def test_no_file_is_refused(as_operator):
    assert refused(as_operator.post(URL, {"name": "x"}), "file: send a multipart form")
    assert refused(as_operator.post(URL, {"name": "x"}, format="json"), "multipart")
    assert refused(as_operator.post(URL, {"file": "a field"}), "file: send a multipart form")


@pytest.mark.parametrize("name", ["a" * 201, "a\0b"])
def test_a_name_that_no_row_holds_is_refused(as_operator, name):
    assert refused(upload(as_operator, name=name), "name: ")


def test_an_odd_file_name_is_only_a_name(as_operator):
    answer = upload(as_operator, filename="../../etc/\u202epasswd.CSV" + "é" * 300)
    assert answer.status_code == 201, answer.content
    told = answer.json()
    assert "/" not in told["filename"]
    assert len(told["filename"]) <= 255
    key = Dataset.objects.get(pk=told["id"]).upload.key
    assert key.rpartition("/")[2].startswith("raw.")
    assert ".." not in key


def test_a_file_over_the_limit_is_a_413(as_operator, settings):
    settings.UPLOAD_LIMIT_BYTES = len(CSV) - 1
    answer = upload(as_operator)
    assert answer.status_code == 413
    assert f"{len(CSV)} bytes, at most {len(CSV) - 1}" in answer.json()["detail"]
    assert not Dataset.objects.exists()


def test_while_the_store_is_away_nothing_is_registered(as_operator, settings, monkeypatch):
    monkeypatch.setattr("controlcenter.platform.artifacts.store.time.sleep", lambda seconds: None)
    settings.OBJECT_STORE_URL = "http://access:secret@127.0.0.1:1/bucket"
    answer = upload(as_operator)
    assert answer.status_code == 503
    assert "The file was not stored, nothing was registered" in answer.json()["detail"]
    assert not Dataset.objects.exists()
    assert not Run.objects.exists()


def drive(application, headers, chunks):
    """What an ASGI server would send back for a body in chunks, and how much it was asked for."""
    sent, asked = [], 0
    scope = {"type": "http", "method": "POST", "path": URL, "headers": headers}

    async def receive():
        nonlocal asked
        asked += 1
        return next(messages, {"type": "http.disconnect"})

    async def send(message):
        sent.append(message)

    messages = (
        {"type": "http.request", "body": chunk, "more_body": at < len(chunks) - 1}
        for at, chunk in enumerate(chunks)
    )
    asyncio.run(BodyLimit(application)(scope, receive, send))
    return sent, asked


async def drain(scope, receive, send):
    """An application that reads the whole body and answers 200."""
    while (message := await receive())["type"] != "http.disconnect":
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_refused_while_it_arrives(settings, declared):
    settings.UPLOAD_LIMIT_BYTES = 1000
    chunks = [b"a" * MARGIN_BYTES] * 4
    headers = [(b"content-length", str(4 * MARGIN_BYTES).encode())] if declared else []
    sent, asked = drive(drain, headers, chunks)
    assert [m["type"] for m in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 413
    problem = json.loads(sent[1]["body"])
    assert problem["status"] == 413
    assert "UPS_UPLOAD_LIMIT_BYTES" in problem["detail"]
    assert asked == (0 if declared else 2)


def test_a_body_within_the_limit_passes(settings):
    settings.UPLOAD_LIMIT_BYTES = 1000
    sent, _ = drive(drain, [], [b"a" * 500] * 2)
    assert sent[0]["status"] == 200


def test_a_dataset_that_a_task_needs_is_not_deleted(as_operator, workspace):
    dataset = make_dataset(workspace)
    task = make_task(workspace, dataset)
    answer = as_operator.delete(f"{URL}{dataset.pk}/")
    assert answer.status_code == 409
    assert f"needed by task {task.pk}: cancel it first" in answer.json()["detail"]
    as_operator.post(f"/api/v1/tasks/{task.pk}/cancel/")
    assert as_operator.delete(f"{URL}{dataset.pk}/").status_code == 204
    left = as_operator.get(f"{URL}{dataset.pk}/").json()
    assert left["state"] == "deleted"
    assert as_operator.get(f"{URL}{dataset.pk}/lineage/").json()["tasks"] == [str(task.pk)]
    body = {"dataset": str(dataset.pk)}
    assert as_operator.post("/api/v1/tasks/", body, format="json").status_code == 409


@pytest.mark.parametrize("state", [DatasetState.VALIDATING, DatasetState.GENERATING])
def test_deleting_takes_the_run_from_the_worker(as_operator, workspace, state):
    dataset = make_dataset(workspace, state=state)
    run = queue_run(workspace=workspace, kind="validation", subject=str(dataset.pk))
    held = claims.claim(run.pk, worker="worker")
    assert as_operator.delete(f"{URL}{dataset.pk}/").status_code == 204
    with pytest.raises(claims.Fenced):
        claims.beat(held)
    assert Dataset.objects.get(pk=dataset.pk).state == DatasetState.DELETED
    assert Run.objects.get(pk=run.pk).status == "cancelled"


def test_one_workspace_cannot_fill_the_queue(as_operator, as_stranger, monkeypatch):
    monkeypatch.setattr("controlcenter.modelling.datasets.services.MAX_WAITING", 2)
    codes = [as_operator.post(f"{URL}synthesize/", {}, format="json") for _ in range(3)]
    assert [answer.status_code for answer in codes] == [202, 202, 409]
    assert "delete some" in codes[2].json()["detail"]
    assert as_stranger.post(f"{URL}synthesize/", {}, format="json").status_code == 202


@pytest.mark.parametrize("call", ["preview/", "report/", "lineage/", ""])
def test_somebody_elses_dataset_is_not_there(as_operator, other_workspace, call):
    dataset = make_dataset(other_workspace)
    assert as_operator.get(f"{URL}{dataset.pk}/{call}").status_code == 404


def test_a_synthetic_population_is_queued(as_operator, workspace):
    answer = as_operator.post(f"{URL}synthesize/", {"users": 50, "seed": 3}, format="json")
    assert answer.status_code == 202
    told = answer.json()
    assert told["state"] == "generating"
    assert (told["synthesis"]["users"], told["synthesis"]["seed"]) == (50, 3)
    assert Run.objects.get(workspace=workspace).kind == "synthesis"
    assert AuditEntry.objects.filter(action="dataset.synthesize").count() == 1


@pytest.mark.parametrize(
    "body", [{"users": 0}, {"users": 3_000_000}, {"events": -1}, {"seed": "x"}, {"structure": 5}]
)
def test_a_population_out_of_range_is_refused(as_operator, body):
    answer = as_operator.post(f"{URL}synthesize/", body, format="json")
    assert refused(answer, next(iter(body)))
