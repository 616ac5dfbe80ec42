"""What the forms do with good and with bad input: services decide, the page says it."""

import json
import re

import pytest
from controlcenter_fixtures import make_dataset
from django.contrib.messages import get_messages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.registry.models import ActiveVersion
from controlcenter.modelling.rules.models import Rule, RuleRevision
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.accounts.models import Account, Membership, Token, Workspace
from controlcenter.platform.artifacts.store import store
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.runs.models import Run
from controlcenter.serving.ingestion.models import Ingestion

pytestmark = pytest.mark.django_db
WIDE = "id,fee,churned\nu1,10,yes\nu2,20,no\n"
MAPPING = """
format: wide
columns:
  id: {role: id}
  fee: {role: numeric}
  churned: {role: label, positive: "yes", negative: "no"}
"""


def url(name, *args):
    return reverse(f"admin:{name}", args=args)


def said(answer) -> str:
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


def errors(answer) -> dict[str, list[str]]:
    assert answer.status_code == 200, answer
    return dict(answer.context["form"].errors)


def upload(client, **more):
    body = {"workspace": "alpha", "file": SimpleUploadedFile("wide.csv", WIDE.encode())}
    return client.post(url("datasets_dataset_add"), body | more)


def test_an_upload_is_stored_with_its_hash_and_checked_by_a_run(alpha, as_):
    answer = upload(as_("operator"), name="Wide", mapping=MAPPING)
    dataset = Dataset.objects.get(name="Wide")
    assert answer.url == url("datasets_dataset_change", dataset.pk)
    assert (dataset.state, dataset.size) == ("validating", len(WIDE))
    assert dataset.mapping["format"] == "wide"
    assert Run.objects.filter(kind="validation", subject=dataset.pk, status="queued").exists()
    assert AuditEntry.objects.filter(action="dataset.upload", actor="operator").exists()
    assert dataset.upload.sha256 == dataset.sha256
    assert store().client.stat_object(store().bucket, dataset.upload.key).size == len(WIDE)
    page = as_("viewer").get(answer.url).content.decode()
    assert dataset.sha256 in page
    assert "a worker checks every row" in page


def test_a_mapping_may_be_a_file(alpha, as_):
    given = SimpleUploadedFile("mapping.yaml", MAPPING.encode())
    upload(as_("operator"), name="Wide", mapping_file=given)
    assert Dataset.objects.get(name="Wide").mapping["columns"]["fee"]["role"] == "numeric"


@pytest.mark.parametrize(
    ("more", "field", "message"),
    [
        ({"mapping": "{"}, "mapping", "neither JSON nor YAML"),
        ({"mapping": "- a list"}, "mapping", "expected an object"),
        ({"mapping": "format: tall"}, "mapping", "format"),
        ({"mapping": "a: &b [1]\nc: *b"}, "mapping", "aliases"),
        ({"mapping_file": SimpleUploadedFile("m", b"\xff\xfe\x00")}, "mapping_file", "UTF-8"),
        (
            {"mapping": MAPPING, "mapping_file": SimpleUploadedFile("m", b"x: 1")},
            "mapping_file",
            "not both",
        ),
        ({"file": ""}, "file", "required"),
        ({"workspace": "beta"}, "workspace", "Select a valid choice"),
        ({"name": "x" * 201}, "name", "at most 200"),
    ],
)
def test_bad_uploads_are_named_and_leave_nothing(more, field, message, alpha, beta, as_):
    before = Dataset.objects.count()
    found = errors(upload(as_("operator"), **more))
    assert message in str(found[field])
    assert Dataset.objects.count() == before


def test_synthesis_takes_the_ranges_of_the_api(alpha, as_):
    target = url("datasets_dataset_list_operation", "synthesize")
    form = as_("operator").get(target).context["form"]
    body = {name: form.get_initial_for_field(f, name) for name, f in form.fields.items()}
    body |= {"workspace": "alpha", "users": 50, "events": 100, "structure": "on"}
    found = errors(as_("operator").post(target, body | {"users": 1, "seed": -1}))
    assert set(found) == {"users", "seed"}
    as_("operator").post(target, body)
    dataset = Dataset.objects.get(workspace=alpha.workspace, state="generating")
    assert (dataset.synthesis["users"], dataset.synthesis["structure"]) == (50, True)


def task_body(alpha, **more):
    dataset = alpha.pk("datasets.Dataset")
    body = {"workspace": "alpha", "workflow": "refresh", "mode": "full_retrain", "scope": "full"}
    return body | {"dataset": dataset, "priority": 0, "start": "on", "device": "auto"} | more


def test_a_task_is_created_with_its_run_and_its_parameters(alpha, as_):
    body = task_body(alpha, epochs=3, seed=11, keep_timestamps="on", name="Mine")
    answer = as_("operator").post(url("tasks_task_add"), body)
    task = Task.objects.get(name="Mine")
    assert answer.url == url("tasks_task_change", task.pk)
    assert (task.parameters["epochs"], task.parameters["seed"]) == (3, 11)
    assert "learning_rate" not in task.parameters
    assert task.created_by.username == "operator"
    assert [run.kind for run in task.runs.all()] == ["building"]


@pytest.mark.parametrize(
    ("more", "field", "message"),
    [
        ({"epochs": 0}, "epochs", "from 1 to 1000"),
        ({"epochs": "many"}, "epochs", "a whole number"),
        ({"scope": "sampled", "sample_ratio": 1.5}, "sample_ratio", "from 0.01 to 1.0"),
        ({"sample_ratio": 0.5}, "sample_ratio", "sampled"),
        ({"learning_rate": "nan"}, "learning_rate", "expected a number"),
        ({"seed": -1}, "seed", "from 0"),
        ({"dataset": ""}, "dataset", "needs a dataset"),
        ({"dataset": "00000000-0000-0000-0000-000000000000"}, "dataset", "valid choice"),
        ({"workflow": "eternal"}, "workflow", "valid choice"),
        ({"performance_metric": "score.brier"}, "performance_metric", "more is better"),
        ({"workspace": "beta"}, "workspace", "valid choice"),
        ({"priority": 1000}, "priority", "less than or equal"),
    ],
)
def test_bad_tasks_are_named_and_not_made(more, field, message, alpha, beta, as_):
    before = Task.objects.count()
    found = errors(as_("operator").post(url("tasks_task_add"), task_body(alpha, **more)))
    assert message in str(found[field])
    assert Task.objects.count() == before


def test_what_does_not_fit_the_state_is_said_on_top(alpha, as_):
    ActiveVersion.objects.all().delete()
    body = task_body(alpha, workflow="fusion", dataset="")
    found = errors(as_("operator").post(url("tasks_task_add"), body))
    assert "no model version yet" in str(found["__all__"])


def test_an_invalid_dataset_is_not_offered(alpha, as_):
    bad = make_dataset(alpha.workspace, name="bad", state="invalid")
    found = errors(as_("operator").post(url("tasks_task_add"), task_body(alpha, dataset=bad.pk)))
    assert "valid choice" in str(found["dataset"])


def test_a_dataset_leads_to_the_form_filled_in(alpha, as_):
    dataset = alpha.pk("datasets.Dataset")
    answer = as_("operator").post(url("datasets_dataset_operation", dataset, "refresh"))
    form = as_("operator").get(answer.url).context["form"]
    assert form["dataset"].value() == str(dataset)
    assert form["workspace"].value() == "alpha"


def test_start_and_cancel_by_buttons(alpha, as_):
    task = alpha.rows["tasks.Task"]
    as_("operator").post(url("tasks_task_operation", task.pk, "start"))
    assert task.runs.get().status == "queued"
    answer = as_("operator").post(url("tasks_task_operation", task.pk, "cancel"))
    assert "is cancelled" in said(answer)
    assert Task.objects.get(pk=task.pk).state == "cancelled"
    again = as_("operator").post(url("tasks_task_operation", task.pk, "start"))
    assert "create a new one" in said(again)


def test_a_dataset_that_a_task_needs_is_not_deleted(alpha, as_):
    dataset = alpha.rows["datasets.Dataset"]
    target = url("datasets_dataset_operation", dataset.pk, "delete")
    assert "is needed by task" in str(errors(as_("operator").post(target))["__all__"])
    Task.objects.filter(pk=alpha.pk("tasks.Task")).delete()
    as_("operator").post(target)
    assert Dataset.objects.get(pk=dataset.pk).state == "deleted"


RULE = {
    "workspace": "alpha",
    "name": "dear",
    "expression": "monthly_fee >= 70",
    "weight": "2",
    "description": "",
}


def test_a_rule_makes_a_revision_and_its_change_another(alpha, as_):
    as_("operator").post(url("rules_rule_add"), RULE)
    rule = Rule.objects.get(workspace=alpha.workspace, name="dear")
    last = RuleRevision.objects.filter(workspace=alpha.workspace).first()
    assert (last.change, last.actor) == ("create dear", "operator")
    change = RULE | {"weight": "-1", "workspace": "beta"}
    as_("operator").post(url("rules_rule_change", rule.pk), change | {"workspace": "alpha"})
    rule.refresh_from_db()
    assert rule.weight == -1
    as_("operator").post(url("rules_rule_operation", rule.pk, "delete"))
    assert not Rule.objects.filter(pk=rule.pk).exists()
    changes = RuleRevision.objects.filter(workspace=alpha.workspace).values_list("change")[:3]
    assert [one for (one,) in changes] == ["delete dear", "update dear", "create dear"]


@pytest.mark.parametrize(
    ("more", "field", "message"),
    [
        ({"expression": "monthly_fee >="}, "expression", ""),
        ({"expression": "height > 3"}, "expression", "height"),
        ({"expression": "__import__('os')"}, "expression", ""),
        ({"expression": "1 < " * 25_000 + "2"}, "expression", ""),
        ({"name": "rule_alphamark"}, "name", "already"),
        ({"name": "Not A Name"}, "name", "lower-case"),
        ({"weight": "nan"}, "weight", ""),
        ({"weight": "101"}, "weight", "100"),
        ({"workspace": "beta"}, "workspace", "valid choice"),
    ],
)
def test_bad_rules_are_named_and_not_made(more, field, message, alpha, beta, as_):
    before = Rule.objects.count()
    found = errors(as_("operator").post(url("rules_rule_add"), RULE | more))
    assert message in str(found[field])
    assert Rule.objects.count() == before


def test_the_preview_counts_and_names_the_users_of_its_workspace(alpha, beta, as_):
    target = url("profiles_profile_list_operation", "preview-rule")
    body = {"workspace": "alpha", "expression": "monthly_fee >= 70"}
    page = as_("analyst").post(target, body).content.decode()
    assert "1 of 1 users match" in page
    assert "user-alphamark" in page
    assert "user-betamark" not in page
    bad = as_("analyst").post(target, body | {"expression": "nonsense > 1"})
    assert "nonsense" in str(errors(bad)["expression"])
    assert "valid choice" in str(errors(as_("analyst").post(target, body | {"workspace": "beta"})))


def test_promotion_asks_for_a_reason_and_rescores(alpha, as_):
    old = alpha.rows["registry.ModelVersion"]
    target = url("registry_modelversion_operation", old.pk, "promote")
    assert "required" in str(errors(as_("operator").post(target, {}))["reason"])
    answer = as_("operator").post(target, {"reason": "the other is worse"})
    pointer = ActiveVersion.objects.get(workspace=alpha.workspace)
    assert (pointer.version, pointer.reason) == (old, "the other is worse")
    assert answer.url.startswith(url("tasks_task_changelist"))
    back = url("registry_modelversion_list_operation", "rollback")
    found = errors(as_("operator").post(back, {"workspace": "alpha", "reason": "more"}))
    assert "nothing before it" in str(found["__all__"])


def test_ingestion_is_switched_with_a_reason(alpha, as_):
    target = url("events_ingestion_list_operation", "stop")
    as_("owner").post(target, {"workspace": "alpha", "reason": "flood"})
    switch = Ingestion.objects.get(workspace=alpha.workspace)
    assert (switch.stopped, switch.reason, switch.changed_by) == (True, "flood", "owner")


def test_members_change_by_the_owner_and_the_last_owner_stays(alpha, as_):
    add = url("accounts_membership_add")
    body = {"workspace": "alpha", "account": "nobody-here", "role": "viewer"}
    assert "nobody-here" in str(errors(as_("owner").post(add, body))["account"])
    Account.objects.create_user("new")
    as_("owner").post(add, body | {"account": "new"})
    new = Membership.objects.get(account__username="new")
    as_("owner").post(url("accounts_membership_operation", new.pk, "role"), {"role": "analyst"})
    new.refresh_from_db()
    assert new.role == "analyst"
    as_("owner").post(url("accounts_membership_operation", new.pk, "remove"))
    assert not Membership.objects.filter(pk=new.pk).exists()
    mine = Membership.objects.get(account__username="owner", workspace=alpha.workspace)
    for name, given in (("remove", {}), ("role", {"role": "viewer"})):
        target = url("accounts_membership_operation", mine.pk, name)
        assert "only owner" in str(errors(as_("owner").post(target, given))["__all__"])


def test_a_token_is_shown_once_works_and_is_revoked(alpha, as_, client):
    answer = as_("viewer").post(url("accounts_token_add"), {"name": "mine"}, follow=True)
    text = re.search(r"ups_\w+", answer.content.decode())[0]
    me = client.get("/api/v1/accounts/me/", headers={"Authorization": f"Token {text}"})
    assert me.json()["username"] == "viewer"
    assert text not in as_("viewer").get(url("accounts_token_changelist")).content.decode()
    token = Token.objects.get(name="mine")
    as_("viewer").post(url("accounts_token_operation", token.pk, "revoke"))
    gone = client.get("/api/v1/accounts/me/", headers={"Authorization": f"Token {text}"})
    assert gone.status_code == 401


def test_a_superuser_makes_workspaces_and_accounts(alpha, as_):
    body = {"slug": "gamma", "name": "Gamma", "owner": "viewer"}
    add = url("accounts_workspace_add")
    assert "already" in str(errors(as_("superuser").post(add, body | {"slug": "alpha"}))["slug"])
    assert "no account" in str(errors(as_("superuser").post(add, body | {"owner": "x"}))["owner"])
    as_("superuser").post(add, body)
    gamma = Workspace.objects.get(slug="gamma")
    assert gamma.memberships.get().account.username == "viewer"
    account = {"username": "fresh", "usable_password": "true"}
    account |= {"password1": "a-Long-Secret-1", "password2": "a-Long-Secret-1"}
    as_("superuser").post(url("accounts_account_add"), account)
    assert Account.objects.get(username="fresh").check_password("a-Long-Secret-1")
    entry = AuditEntry.objects.get(action="account.create")
    assert "Secret" not in json.dumps(entry.details)
