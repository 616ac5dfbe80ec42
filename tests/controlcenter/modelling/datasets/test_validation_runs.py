"""Validation and synthesis from upload to report, on the real services."""

import io
import uuid
import zipfile
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.services import sweep
from controlcenter.platform.artifacts.store import store
from controlcenter.platform.runs.models import Run
from ml.contracts.schema import TELECOM
from workers.runtime.runner import execute
from workers.stages import synthesis, validation

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/api/v1/datasets/"
USERS = "user_id,monthly_fee,tenure_months,plan,level,device_brand,churn\n" + "".join(
    f"u{n},{20 + n},{n},basic,gold,acme,{n % 2}\n" for n in range(30)
)
PRODUCTS = "product_id,price,name\np1,9.5,Phone\np2,3,Case\n"
APPS = "app_id,name\na1,Chess\n"
EVENTS = (
    "type,actor,target,timestamp\n"
    "call,u1,u2,2026-01-01T00:00:00Z\n"
    "order,u1,p1,2026-01-02T00:00:00Z\n"
    "use,u3,a1,2026-01-03T00:00:00Z\n"
    "use,stranger,a1,2026-01-04T00:00:00Z\n"
    "sing,u3,a1,2026-01-05T00:00:00Z\n"
)
MAPPING = """
format: wide
columns:
  customer: {role: id}
  charge: {role: numeric, name: monthly_fee}
  phone: {role: product, positive: "Yes"}
  churned: {role: label, positive: "Yes", negative: "No"}
"""
WIDE = "customer;charge;phone;churned\nc1;70,5;Yes;No\nc2;20;No;Yes\nc3;30;Yes;No\n"


def zipped(files):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


GOOD = zipped(
    {"users.csv": USERS, "products.csv": PRODUCTS, "apps.csv": APPS, "events.csv": EVENTS}
)


def validated(client, content, filename="all.zip", **form):
    """Upload, do the run as a worker does, and read the dataset again."""
    answer = client.post(URL, form | {"file": SimpleUploadedFile(filename, content)})
    assert answer.status_code == 201, answer.content
    key = answer.json()["id"]
    run = Run.objects.get(subject=key)
    assert execute(str(run.pk), validation.work) == "done"
    assert execute(str(run.pk), validation.work) == "dropped"
    return client.get(f"{URL}{key}/").json()


def test_a_good_zip_becomes_ready_with_a_report(as_operator, as_analyst, workspace):
    told = validated(as_operator, GOOD)
    assert (told["state"], told["error"]) == ("ready", "")
    assert told["rows"]["users"] == 30
    assert told["schema_hash"] == TELECOM.hash
    assert told["validated_at"] is not None
    report = as_operator.get(f"{URL}{told['id']}/report/").json()["report"]
    assert (report["created_users"], report["rows_rejected"]) == (1, 1)
    rejected = report["rejected"][0]
    assert (rejected["line"], rejected["column"], rejected["value"]) == (6, "type", "sing")
    assert Workspace.objects.get(pk=workspace.pk).schema == TELECOM.to_dict()

    preview = as_analyst.get(f"{URL}{told['id']}/preview/").json()
    tables = {table["table"]: table for table in preview["tables"]}
    assert {"users", "products", "apps", "events"} <= set(tables)
    users = tables["users"]
    assert len(users["rows"]) == 20
    row = dict(zip(users["columns"], users["rows"][0], strict=True))
    assert (row["user_id"], float(row["monthly_fee"])) == ("u0", 20.0)


def test_a_wide_table_becomes_ready_by_its_mapping(as_operator, workspace):
    told = validated(as_operator, WIDE.encode(), "wide.csv", mapping=MAPPING)
    assert (told["state"], told["error"]) == ("ready", "")
    assert told["rows"]["users"] == 3
    assert told["schema_hash"] != TELECOM.hash
    schema = Workspace.objects.get(pk=workspace.pk).graph_schema
    assert schema.user.names("numeric") == ("monthly_fee",)
    rules = as_operator.get("/api/v1/rules/").json()["results"]
    sits_out = {rule["name"]: rule["sits_out"] for rule in rules}
    assert sits_out["high_value"] is None
    assert "tenure_months" in sits_out["loyal"]


def bomb():
    return zipped({"users.csv": b"user_id\n" + b"u1\n" * 2_000_000})


BROKEN = {
    "empty": (b"", "users.csv", "empty"),
    "truncated": (GOOD[: len(GOOD) // 2], "all.zip", "damaged"),
    "bomb": (bomb(), "all.zip", "unpacks to more than 1000000 bytes"),
    "climbs": (zipped({"../../users.csv": USERS}), "all.zip", "climbs out of the zip"),
    "absolute": (zipped({"/etc/users.csv": USERS}), "all.zip", "climbs out of the zip"),
    "unknown column": (b"who,what\n1,2\n", "users.csv", "who"),
    "no users": (zipped({"readme.txt": "hello"}), "all.zip", "none of the files expected"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_used_is_invalid_and_says_why(as_operator, settings, name):
    settings.UNPACKED_LIMIT_BYTES = 1_000_000
    content, filename, words = BROKEN[name]
    told = validated(as_operator, content, filename)
    assert told["state"] == "invalid"
    assert words in told["error"]
    assert "Traceback" not in told["error"]
    assert told["size"] == len(content)
    upload = Dataset.objects.get(pk=told["id"]).upload
    assert upload is not None, "the upload is kept, for whoever asks what was wrong with it"
    assert as_operator.get(f"{URL}{told['id']}/report/").json()["error"] == told["error"]
    assert as_operator.get(f"{URL}{told['id']}/preview/").status_code == 409
    task = as_operator.post("/api/v1/tasks/", {"dataset": told["id"]}, format="json")
    assert task.status_code == 409
    assert "invalid" in task.json()["detail"]


def test_an_upload_that_is_gone_makes_the_dataset_invalid(as_operator):
    key = as_operator.post(URL, {"file": SimpleUploadedFile("a.csv", b"user_id\n1\n")}).json()["id"]
    store().remove([Dataset.objects.get(pk=key).upload.key])
    assert execute(str(Run.objects.get(subject=key).pk), validation.work) == "failed"
    told = as_operator.get(f"{URL}{key}/").json()
    assert told["state"] == "invalid"
    assert "NoSuchKey" in told["error"]


def test_a_store_that_is_away_costs_an_attempt_and_no_data(as_operator, settings, monkeypatch):
    monkeypatch.setattr(validation, "STORE_PATIENCE", 0.0)
    key = as_operator.post(URL, {"file": SimpleUploadedFile("all.zip", GOOD)}).json()["id"]
    there, settings.OBJECT_STORE_URL = settings.OBJECT_STORE_URL, "http://a:b@127.0.0.1:1/bucket"
    assert execute(str(Run.objects.get(subject=key).pk), validation.work) == "let go"
    settings.OBJECT_STORE_URL = there
    following = Run.objects.get(subject=key, status="queued")
    assert following.attempt == 2
    assert execute(str(following.pk), validation.work) == "done"
    assert as_operator.get(f"{URL}{key}/").json()["state"] == "ready"


def test_a_preview_whose_object_is_gone_is_a_503(as_operator, as_analyst):
    key = validated(as_operator, GOOD)["id"]
    run = Dataset.objects.get(pk=key).checked_run_id
    store().remove(list(Artifact.objects.filter(run_id=run).values_list("key", flat=True)))
    answer = as_analyst.get(f"{URL}{key}/preview/")
    assert answer.status_code == 503
    assert "NoSuchKey" in answer.json()["detail"]


@pytest.mark.usefixtures("own_bucket")
def test_a_synthetic_population_is_generated_checked_and_deleted(as_operator, workspace):
    config = {"users": 40, "products": 5, "apps": 4, "events": 300, "communities": 2}
    key = as_operator.post(f"{URL}synthesize/", config, format="json").json()["id"]
    assert execute(str(Run.objects.get(kind="synthesis").pk), synthesis.work) == "done"
    dataset = Dataset.objects.get(pk=key)
    assert (dataset.state, dataset.size) == ("validating", dataset.upload.size)
    assert execute(str(Run.objects.get(kind="validation").pk), validation.work) == "done"
    told = as_operator.get(f"{URL}{key}/").json()
    assert told["state"] == "ready"
    assert told["rows"]["users"] == 40
    keys = set(Artifact.objects.filter(workspace=workspace).values_list("key", flat=True))
    assert as_operator.delete(f"{URL}{key}/").status_code == 204
    assert not Artifact.objects.filter(workspace=workspace).exists()
    sweep(older_than=timedelta(seconds=-5))
    assert not keys & {found.object_name for found in store().below("")}


def test_a_validation_that_fails_by_itself_leaves_a_sentence(as_operator, monkeypatch):
    key = as_operator.post(URL, {"file": SimpleUploadedFile("a.csv", b"user_id\n1\n")}).json()["id"]

    def fails(execution):
        raise ZeroDivisionError("by zero")

    assert execute(str(Run.objects.get(subject=key).pk), fails) == "failed"
    told = as_operator.get(f"{URL}{key}/").json()
    assert told["state"] == "invalid"
    assert told["error"] == "Validation failed: ZeroDivisionError: by zero"
    assert "fails" in Run.objects.get(subject=key).traceback


def test_a_run_that_nobody_knows_is_dropped(workspace):
    assert execute(str(uuid.uuid4()), validation.work) == "dropped"
