"""Status, switches and training on demand; the audit that nobody can change."""

import pytest
from controlcenter_fixtures import make_dataset
from django.db import DatabaseError, connection, transaction

from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.audit.services import record
from controlcenter.platform.runs.models import Run
from controlcenter.serving.profiles.models import Profile

pytestmark = pytest.mark.django_db
URL = "/api/v1/operations/"


def test_status_shows_the_workspace_at_a_glance(
    as_operator, as_viewer, workspace, other_workspace, model_version, ready_dataset
):
    version = model_version()
    Profile.objects.create(workspace=workspace, user_id="u1", final_score=0.5)
    Profile.objects.create(workspace=workspace, user_id="u2")
    Profile.objects.create(workspace=other_workspace, user_id="u3")
    task = as_operator.post(
        "/api/v1/tasks/", {"dataset": str(ready_dataset.pk)}, format="json"
    ).json()
    Run.objects.filter(owner_id=task["id"]).update(status="running", progress={"share": 0.5})
    told = as_viewer.get(f"{URL}status/").json()
    assert told["workspace"] == "alpha"
    assert told["tasks"] == {"completed": 1, "pending": 1}
    assert [(r["task"], r["kind"], r["progress"]) for r in told["running"]] == [
        (task["id"], "building", {"share": 0.5})
    ]
    assert told["users"] == {"total": 2, "scored": 1}
    assert told["model_version"] == {"id": str(version.pk), "number": 1}
    assert told["ingestion"] == {"stopped": False, "reason": ""}
    assert told["events"]["total"] == 0


def test_status_of_an_empty_workspace(as_viewer):
    told = as_viewer.get(f"{URL}status/").json()
    assert (told["tasks"], told["running"], told["model_version"]) == ({}, [], None)
    assert told["seconds_since_reaper"] is None


def test_the_machine_is_measured(as_viewer):
    told = as_viewer.get(f"{URL}metrics/").json()
    assert 0 < told["process_rss_bytes"] < told["memory_total_bytes"]
    assert told["memory_used_bytes"] < told["memory_total_bytes"]
    assert told["cpu_count"] >= 1


@pytest.mark.parametrize("verb", ["stop", "start"])
def test_a_switch_needs_a_reason_and_says_who(as_owner, verb):
    assert as_owner.post(f"{URL}ingestion/{verb}/", {}, format="json").status_code == 400
    told = as_owner.post(f"{URL}ingestion/{verb}/", {"reason": "so"}, format="json").json()
    assert told == {"stopped": verb == "stop", "reason": "so", "changed_by": "owner"}
    assert AuditEntry.objects.get(action=f"ingestion.{verb}").details == {"reason": "so"}


def test_training_on_demand(as_operator, model_version, ready_dataset):
    model_version()
    asked = {"fusion_epochs": 5, "horizon_days": 60, "seed": 3}
    fusion = as_operator.post(f"{URL}fusion/train/", asked, format="json")
    assert fusion.status_code == 202
    task = Task.objects.get(pk=fusion.json()["id"])
    assert (task.workflow, task.base_version) == ("fusion", None)
    assert {name: task.parameters[name] for name in asked} == asked
    network = as_operator.post(f"{URL}hgt/train/", {"epochs": 2}, format="json").json()
    assert (network["workflow"], network["dataset"]) == ("refresh", str(ready_dataset.pk))
    assert network["parameters"]["epochs"] == 2
    rescoring = as_operator.post(f"{URL}rules/refresh/").json()
    assert (rescoring["workflow"], rescoring["base_version"]) == ("fusion", None)


def test_training_needs_what_it_trains_on(as_operator, other_workspace, model_version):
    model_version(of=other_workspace)
    for call, reason in [
        ("fusion/train/", "no model version yet"),
        ("rules/refresh/", "no model version yet"),
        ("hgt/train/", "no dataset that is ready"),
    ]:
        answer = as_operator.post(f"{URL}{call}")
        assert answer.status_code == 409
        assert reason in answer.json()["detail"]
    assert not Task.objects.filter(state="pending").exists()


def test_the_network_trains_on_the_newest_dataset_where_the_versions_is_gone(
    as_operator, workspace, model_version
):
    version = model_version(dataset=make_dataset(workspace, name="old"))
    newer = make_dataset(workspace, name="newer")
    as_operator.delete(f"/api/v1/datasets/{version.dataset_id}/")
    told = as_operator.post(f"{URL}hgt/train/").json()
    assert told["dataset"] == str(newer.pk)


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("fusion/train/", {"fusion_epochs": 0}),
        ("fusion/train/", {"horizon_days": 366}),
        ("fusion/train/", {"seed": -1}),
        ("hgt/train/", {"epochs": 1001}),
        ("hgt/train/", {"epochs": "many"}),
    ],
)
def test_training_out_of_range_is_refused(as_operator, model_version, call, body):
    model_version()
    answer = as_operator.post(f"{URL}{call}", body, format="json")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == next(iter(body))


def test_the_audit_is_listed_with_who_and_which_request(as_owner, as_operator, workspace):
    rule = {"name": "rich", "expression": "monthly_fee > 80", "weight": 1}
    as_operator.post("/api/v1/rules/", rule, format="json", headers={"X-Request-ID": "r-17"})
    told = as_owner.get(f"{URL}audit/", {"action__startswith": "rule."}).json()["results"]
    assert [(e["actor"], e["action"], e["request_id"]) for e in told] == [
        ("operator", "rule.create", "r-17")
    ]
    assert told[0]["target_type"] == "rules.Rule"
    assert as_owner.get(f"{URL}audit/", {"actor": "nobody"}).json()["count"] == 0


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_auditentry SET actor = 'somebody else'", "DELETE FROM audit_auditentry"],
)
def test_the_database_refuses_to_change_the_audit(workspace, owner, statement):
    entry = record(account=owner, workspace=workspace, action="test", target=workspace)
    before = AuditEntry.objects.count()
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert AuditEntry.objects.count() == before
    assert AuditEntry.objects.get(pk=entry.pk).actor == "owner"


def test_what_rolls_back_was_not_done(workspace, owner):
    before = AuditEntry.objects.count()
    with transaction.atomic():
        record(account=None, workspace=workspace, action="test", target=workspace)
        assert AuditEntry.objects.count() == before + 1
        transaction.set_rollback(True)
    assert AuditEntry.objects.count() == before
    assert record(account=None, action="test", target=workspace).actor == "system"
