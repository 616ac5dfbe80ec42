"""Who may open which page and press which button: the whole set, and nothing of others shown."""

import re
from contextlib import contextmanager

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db import transaction
from django.test import Client
from django.urls import reverse

from controlcenter.platform.accounts.console import ConsoleAdmin
from controlcenter.platform.accounts.models import Account, Membership, Role

pytestmark = pytest.mark.django_db
ROLES = ("viewer", "analyst", "operator", "owner")
EVERYBODY = (*ROLES, "stranger", "lonely", "superuser")

LISTS = {
    "accounts.Workspace": "viewer",
    "accounts.Membership": "viewer",
    "accounts.Token": "own",
    "accounts.Account": "superuser",
    "artifacts.Artifact": "viewer",
    "audit.AuditEntry": "owner",
    "datasets.Dataset": "viewer",
    "evaluations.EvaluationReport": "viewer",
    "django_celery_beat.PeriodicTask": "superuser",
    "log.ConsumerPosition": "viewer",
    "log.Event": "viewer",
    "events.Ingestion": "viewer",
    "incremental.Loop": "viewer",
    "profiles.Item": "viewer",
    "profiles.Profile": "viewer",
    "registry.ModelVersion": "viewer",
    "rules.Rule": "viewer",
    "rules.RuleRevision": "viewer",
    "schedules.Schedule": "viewer",
    "runs.Run": "viewer",
    "tasks.Task": "viewer",
    "webhooks.Delivery": "viewer",
    "webhooks.Webhook": "viewer",
}
"""Least role that sees a model's list and rows."""

LIST_OPERATIONS = {
    ("accounts.Workspace", "add"): "superuser",
    ("accounts.Membership", "add"): "owner",
    ("accounts.Token", "add"): "own",
    ("datasets.Dataset", "add"): "operator",
    ("datasets.Dataset", "synthesize"): "operator",
    ("events.Ingestion", "stop"): "owner",
    ("events.Ingestion", "start"): "owner",
    ("incremental.Loop", "start"): "operator",
    ("incremental.Loop", "stop"): "operator",
    ("profiles.Profile", "preview-rule"): "analyst",
    ("registry.ModelVersion", "rollback"): "operator",
    ("rules.Rule", "add"): "operator",
    ("schedules.Schedule", "add"): "operator",
    ("tasks.Task", "add"): "operator",
    ("webhooks.Webhook", "add"): "owner",
}

ROW_OPERATIONS = {
    ("accounts.Membership", "role"): "owner",
    ("accounts.Membership", "remove"): "owner",
    ("accounts.Token", "revoke"): "own",
    ("datasets.Dataset", "refresh"): "operator",
    ("datasets.Dataset", "delete"): "operator",
    ("registry.ModelVersion", "promote"): "operator",
    ("rules.Rule", "edit"): "operator",
    ("rules.Rule", "preview"): "analyst",
    ("rules.Rule", "delete"): "operator",
    ("schedules.Schedule", "edit"): "operator",
    ("schedules.Schedule", "fire"): "operator",
    ("schedules.Schedule", "enable"): "operator",
    ("schedules.Schedule", "disable"): "operator",
    ("schedules.Schedule", "delete"): "operator",
    ("tasks.Task", "start"): "operator",
    ("tasks.Task", "cancel"): "operator",
    ("tasks.Task", "suspend"): "operator",
    ("tasks.Task", "resume"): "operator",
    ("tasks.Task", "retry"): "operator",
    ("webhooks.Delivery", "replay"): "operator",
    ("webhooks.Webhook", "edit"): "owner",
    ("webhooks.Webhook", "test"): "operator",
    ("webhooks.Webhook", "rotate"): "owner",
    ("webhooks.Webhook", "delete"): "owner",
}


def allowed(least: str) -> set[str]:
    """Who of ``EVERYBODY`` may, in a workspace where the stranger and the lonely have no role."""
    if least == "superuser":
        return {"superuser"}
    return {*ROLES[ROLES.index(least) :], "superuser"}


def anywhere(least: str) -> set[str]:
    """Who may where no row is named: the stranger is the owner of another workspace."""
    if least == "own":
        return set(EVERYBODY)
    return allowed(least) | ({"stranger"} if least != "superuser" else set())


def on_row(least: str) -> set[str]:
    return {"owner", "superuser"} if least == "own" else allowed(least)


@contextmanager
def undone():
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def address(label: str, page: str, *args: object) -> str:
    return reverse(f"admin:{label.lower().replace('.', '_')}_{page}", args=[quote(a) for a in args])


def ours() -> dict[str, ConsoleAdmin]:
    return {model._meta.label: page for model, page in admin.site._registry.items()}


def may_press(client: Client, url: str) -> bool:
    """Whether an operation is open to the account: a form is shown, or a button does something."""
    with undone():
        answer = client.get(url)
        if answer.status_code == 405:
            answer = client.post(url)
    assert answer.status_code in {200, 302, 403, 404}, (url, answer.status_code)
    return answer.status_code in {200, 302}


def test_every_model_and_operation_is_in_the_tables():
    pages = ours()
    assert set(pages) == set(LISTS)
    consoles = {label: page for label, page in pages.items() if label != "accounts.Account"}
    assert all(isinstance(page, ConsoleAdmin) for page in consoles.values())
    assert set(LIST_OPERATIONS) == {
        (label, one.name) for label, page in consoles.items() for one in page.list_operations
    }
    assert set(ROW_OPERATIONS) == {
        (label, one.name) for label, page in consoles.items() for one in page.operations
    }


UNSCOPED = {"accounts.Account", "django_celery_beat.PeriodicTask"}
SCOPED = [label for label in LISTS if label not in UNSCOPED]


def who_gets(browsers, url: str) -> set[str]:
    return {who for who, client in browsers.items() if client.get(url).status_code == 200}


def who_may_press(browsers, url: str) -> set[str]:
    return {who for who, client in browsers.items() if may_press(client, url)}


def test_lists(alpha, beta, browsers):
    seen = {label: who_gets(browsers, address(label, "changelist")) for label in LISTS}
    assert seen == {label: anywhere(least) for label, least in LISTS.items()}


def test_rows(alpha, beta, browsers):
    seen = {
        label: who_gets(browsers, address(label, "change", alpha.pk(label))) for label in SCOPED
    }
    assert seen == {label: on_row(LISTS[label]) for label in SCOPED}


def test_operations_of_lists(alpha, beta, browsers):
    seen = {
        (label, name): who_may_press(browsers, address(label, "list_operation", name))
        for label, name in LIST_OPERATIONS
    }
    assert seen == {key: anywhere(least) for key, least in LIST_OPERATIONS.items()}


def test_add_pages(alpha, beta, browsers):
    expected = {
        label: anywhere(LIST_OPERATIONS[label, "add"])
        if (label, "add") in LIST_OPERATIONS
        else set()
        for label in SCOPED
    }
    seen = {label: who_may_press(browsers, address(label, "add")) for label in SCOPED}
    assert seen == expected


def test_operations_of_rows(alpha, beta, browsers):
    seen = {
        (label, name): who_may_press(browsers, address(label, "operation", alpha.pk(label), name))
        for label, name in ROW_OPERATIONS
    }
    assert seen == {key: on_row(least) for key, least in ROW_OPERATIONS.items()}


def test_audit_of_a_row_is_for_owners(alpha, beta, browsers):
    seen = {
        label: who_gets(browsers, address(label, "history", alpha.pk(label))) for label in SCOPED
    }
    special = {"audit.AuditEntry": set(), "accounts.Token": {"superuser"}}
    assert seen == {label: special.get(label, {"owner", "superuser"}) for label in SCOPED}


def test_the_admins_own_save_and_delete_are_closed_to_all(alpha, beta, browsers):
    """Whoever may change a rule gets its form, which saves by the service alone."""
    for label in SCOPED:
        model, row = type(alpha.rows[label]), alpha.pk(label)
        before = model.objects.filter(pk=row).values().get()
        for client in browsers.values():
            answers = [
                client.post(address(label, "delete", row), {"post": "yes"}),
                client.post(address(label, "change", row), {"name": "stolen", "user_id": "stolen"}),
            ]
            assert {answer.status_code for answer in answers} <= {200, 302, 403}
        assert model.objects.filter(pk=row).values().get() == before


def test_members_without_staff_and_nobody_stay_outside(alpha, team):
    member, nobody = Client(), Client()
    member.force_login(team.accounts["operator"])
    for client in (member, nobody):
        for label in LISTS:
            answer = client.get(address(label, "changelist"))
            assert answer.status_code == 302
            assert "/admin/login/" in answer.url


def test_no_list_shows_another_workspace(alpha, beta, as_):
    """Neither as it is, nor filtered for it, nor searched for it."""
    for label in SCOPED:
        url = address(label, "changelist")
        for query in ("", "?workspace=alpha", "?workspace__slug=alpha", "?q=alphamark"):
            answer = as_("stranger").get(url + query, follow=True)
            if "__" in query and answer.status_code == 400:
                continue  # the admin refuses lookups that no filter declares
            assert answer.status_code == 200
            rows = answer.context["cl"].result_list if "cl" in answer.context else []
            assert alpha.pk(label) not in [row.pk for row in rows]
            shown = answer.content.decode().replace('value="alphamark"', "")
            assert "alphamark" not in re.sub(r"q(=|%3D)alphamark", "", shown), (label, query)
        mine = as_("stranger").get(url).context["cl"].result_list
        assert beta.pk(label) in [row.pk for row in mine]


def test_a_bulk_action_reaches_only_rows_where_the_role_allows_it(alpha, beta, as_):
    both = Account.objects.create_user("both", is_staff=True)
    Membership.objects.create(workspace=alpha.workspace, account=both, role=Role.VIEWER)
    Membership.objects.create(workspace=beta.workspace, account=both, role=Role.OPERATOR)
    client = Client()
    client.force_login(both)
    tasks = [alpha.rows["tasks.Task"], beta.rows["tasks.Task"]]
    body = {"action": "cancel", "_selected_action": [task.pk for task in tasks]}
    answer = client.post(address("tasks.Task", "changelist"), body, follow=True)
    assert [type(t).objects.get(pk=t.pk).state for t in tasks] == ["pending", "cancelled"]
    assert "does not allow" in answer.content.decode()
    body["action"] = "start"
    as_("stranger").post(address("tasks.Task", "changelist"), body)
    assert not tasks[0].runs.exists()


def test_choices_offer_nothing_of_others(alpha, beta, as_):
    for label, name in LIST_OPERATIONS:
        if (label, name) in {("accounts.Workspace", "add"), ("accounts.Token", "add")}:
            continue
        form = as_("stranger").get(address(label, "list_operation", name)).context["form"]
        assert set(form.fields["workspace"].queryset) == {beta.workspace}
    form = as_("stranger").get(address("tasks.Task", "add")).context["form"]
    for field in ("dataset", "base_version"):
        assert {row.workspace for row in form.fields[field].queryset} == {beta.workspace}


def test_choices_need_the_role_not_just_sight(alpha, beta):
    both = Account.objects.create_user("both", is_staff=True)
    Membership.objects.create(workspace=alpha.workspace, account=both, role=Role.ANALYST)
    Membership.objects.create(workspace=beta.workspace, account=both, role=Role.OPERATOR)
    client = Client()
    client.force_login(both)
    form = client.get(address("tasks.Task", "add")).context["form"]
    assert set(form.fields["workspace"].queryset) == {beta.workspace}
    assert set(form.fields["dataset"].queryset) == {beta.rows["datasets.Dataset"]}
    preview = client.get(address("profiles.Profile", "list_operation", "preview-rule"))
    offered = set(preview.context["form"].fields["workspace"].queryset)
    assert offered == {alpha.workspace, beta.workspace}


def test_a_rule_of_others_is_not_filled_into_the_preview(alpha, beta, as_):
    url = address("profiles.Profile", "list_operation", "preview-rule")
    shown = as_("stranger").get(url, {"rule": alpha.pk("rules.Rule")}).content.decode()
    assert "tenure_months" not in shown
