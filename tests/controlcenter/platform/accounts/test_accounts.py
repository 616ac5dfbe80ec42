"""Signing in and out, members and their roles, and which workspace a request is about."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from controlcenter_fixtures import client_of
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from rest_framework.test import APIClient

from controlcenter.platform.accounts import services
from controlcenter.platform.accounts.models import (
    Account,
    Membership,
    Role,
    SignInFailure,
    Token,
    Workspace,
)
from controlcenter.platform.accounts.services import create_workspace, issue_token
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.common.errors import Conflict

pytestmark = pytest.mark.django_db
TOKENS = "/api/v1/auth/tokens/"
ME = "/api/v1/accounts/me/"


@pytest.fixture
def cheap_hashing(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ada(cheap_hashing, workspace):
    account = Account.objects.create_user("ada", password="sesame-17", home_workspace=workspace)
    Membership.objects.create(workspace=workspace, account=account, role="viewer")
    return account


def with_token(text):
    client = client_of(None)
    client.credentials(HTTP_AUTHORIZATION=f"Token {text}")
    return client


def test_name_and_password_give_a_token_that_works_until_it_is_revoked(anonymous, ada):
    body = {"username": "ada", "password": "sesame-17", "name": "laptop"}
    made = anonymous.post(TOKENS, body, format="json")
    assert made.status_code == 201
    text = made.json()["token"]
    assert text.startswith("ups_")
    row = Token.objects.get(user=ada)
    assert text not in (row.digest, row.token_key)
    client = with_token(text)
    assert client.get(ME).json() == {
        "username": "ada",
        "email": "",
        "home_workspace": "alpha",
        "workspaces": {"alpha": "viewer"},
    }
    listed = client.get(TOKENS).json()["results"]
    assert [t["name"] for t in listed] == ["laptop"]
    assert text not in str(listed)
    assert client.delete(f"{TOKENS}{made.json()['id']}/").status_code == 204
    assert client.get(ME).status_code == 401
    actions = AuditEntry.objects.filter(account_id=ada.pk).values_list("action", flat=True)
    assert list(actions) == ["token.revoke", "token.issue"]


@pytest.mark.parametrize(
    "body",
    [
        {"username": "ada", "password": "wrong"},
        {"username": "ada"},
        {"username": "nobody", "password": "sesame-17"},
        {"username": "", "password": ""},
        {},
        {"username": "a\ud800"},
    ],
)
def test_a_wrong_sign_in_gives_nothing(anonymous, ada, body):
    answer = anonymous.post(TOKENS, json.dumps(body), content_type="application/json")
    assert answer.status_code in {400, 401}
    assert not Token.objects.exists()


def test_an_inactive_account_cannot_sign_in(anonymous, ada):
    Account.objects.filter(pk=ada.pk).update(is_active=False)
    body = {"username": "ada", "password": "sesame-17"}
    assert anonymous.post(TOKENS, body, format="json").status_code == 401


def test_guessing_is_slowed_down_whatever_the_client_says_of_itself(anonymous, ada, monkeypatch):
    monkeypatch.setattr("controlcenter.platform.accounts.backends.FAILURES_A_NAME", 3)
    body = {"username": "ada", "password": "wrong"}
    codes = [
        anonymous.post(
            TOKENS, body, format="json", headers={"X-Forwarded-For": f"10.0.0.{number}"}
        ).status_code
        for number in range(5)
    ]
    assert codes == [401, 401, 401, 429, 429]
    right = body | {"password": "sesame-17"}
    assert anonymous.post(TOKENS, right, format="json").status_code == 429
    SignInFailure.objects.update(at=Now() - timedelta(minutes=2))
    assert anonymous.post(TOKENS, right, format="json").status_code == 201


def test_the_admin_has_the_same_limit(client, ada, monkeypatch):
    monkeypatch.setattr("controlcenter.platform.accounts.backends.FAILURES_A_NAME", 2)
    Account.objects.filter(pk=ada.pk).update(is_staff=True)
    for password in ("wrong", "wrong", "sesame-17"):
        answer = client.post("/admin/login/", {"username": "ada", "password": password})
        assert answer.status_code == 200, "the form again"
    SignInFailure.objects.all().delete()
    answer = client.post("/admin/login/", {"username": "ada", "password": "sesame-17"})
    assert answer.status_code == 302


def test_an_address_that_tries_many_names_waits(anonymous, ada, monkeypatch):
    monkeypatch.setattr("controlcenter.platform.accounts.backends.FAILURES_AN_ADDRESS", 3)
    codes = [
        anonymous.post(
            TOKENS, {"username": f"u{number}", "password": "x"}, format="json"
        ).status_code
        for number in range(4)
    ]
    assert codes == [401, 401, 401, 429]


def test_a_token_ends_by_itself(owner):
    token, text = issue_token(account=owner, name="old")
    assert with_token(text).get(ME).status_code == 200
    assert timedelta(days=89) < token.expiry - token.created <= timedelta(days=90)
    Token.objects.filter(pk=token.pk).update(expiry=token.created - timedelta(seconds=1))
    assert with_token(text).get(ME).status_code == 401


def test_somebody_elses_token_is_not_there(as_viewer, owner):
    token, text = issue_token(account=owner, name="mine")
    assert as_viewer.get(TOKENS).json()["count"] == 0
    assert as_viewer.delete(f"{TOKENS}{token.id}/").status_code == 404
    assert with_token(text).get(ME).status_code == 200


def test_a_token_of_one_letter_less_is_wrong(owner):
    _, text = issue_token(account=owner, name="mine")
    for wrong in (text[:-1], text + "0", text.swapcase(), text[:-1] + "é"):
        assert with_token(wrong).get(ME).status_code == 401


def test_the_last_owner_stays(as_owner, team, workspace):
    mine = Membership.objects.get(account=team.accounts["owner"])
    url = f"/api/v1/members/{mine.pk}/"
    for answer in (
        as_owner.patch(url, {"role": "viewer"}, format="json"),
        as_owner.delete(url),
    ):
        assert answer.status_code == 409
        assert "only owner of alpha" in answer.json()["detail"]
    body = {"account": "viewer", "role": "owner"}
    assert as_owner.post("/api/v1/members/", body, format="json").status_code == 201
    assert as_owner.delete(url).status_code == 204
    assert as_owner.get("/api/v1/members/").status_code == 404, "a member no more"


def test_a_role_takes_effect_at_once(as_owner, as_viewer, team):
    member = Membership.objects.get(account=team.accounts["viewer"])
    rule = {"name": "rich", "expression": "monthly_fee > 80", "weight": 1}
    assert as_viewer.post("/api/v1/rules/", rule, format="json").status_code == 403
    as_owner.patch(f"/api/v1/members/{member.pk}/", {"role": "operator"}, format="json")
    assert as_viewer.post("/api/v1/rules/", rule, format="json").status_code == 201
    details = AuditEntry.objects.get(action="member.set_role").details
    assert details == {"account": "viewer", "role": "operator"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"account": "nobody", "role": "viewer"}, "account"),
        ({"account": "viewer", "role": "king"}, "role"),
        ({"role": "viewer"}, "account"),
    ],
)
def test_a_bad_member_is_refused(as_owner, body, field):
    answer = as_owner.post("/api/v1/members/", body, format="json")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


def test_home_is_the_first_workspace_until_another_is_named(owner, workspace):
    create_workspace(slug="gamma", name="Gamma", owner=owner)
    client = client_of(Account.objects.get(pk=owner.pk))
    told = client.get("/api/v1/workspaces/").json()["results"]
    assert [(w["slug"], w["role"]) for w in told] == [("alpha", "owner"), ("gamma", "owner")]
    assert client.get("/api/v1/operations/status/").json()["workspace"] == "alpha"
    named = client.get("/api/v1/operations/status/", {"workspace": "gamma"}).json()
    assert named["workspace"] == "gamma"


def test_who_is_removed_loses_home_and_sees_the_next_one(owner, workspace, other_workspace):
    guest = Account.objects.create_user("guest")
    member = services.set_role(workspace=workspace, username="guest", role=Role.VIEWER, by=owner)
    services.set_role(workspace=other_workspace, username="guest", role=Role.VIEWER, by=owner)
    assert Account.objects.get(pk=guest.pk).home_workspace == workspace
    services.remove_member(membership=member, by=owner)
    client = client_of(Account.objects.get(pk=guest.pk))
    assert client.get("/api/v1/operations/status/").json()["workspace"] == "beta"


def test_a_member_of_nothing_is_told_so(db):
    client = client_of(Account.objects.create_user("lonely"))
    answer = client.get("/api/v1/rules/")
    assert answer.status_code == 404
    assert "member of no workspace" in answer.json()["detail"]
    assert client.get(ME).json()["workspaces"] == {}


def test_a_superuser_is_an_owner_everywhere(workspace):
    client = client_of(Account.objects.create_superuser("root"))
    answer = client.get("/api/v1/operations/audit/", {"workspace": "alpha"})
    assert answer.status_code == 200
    assert client.get("/api/v1/workspaces/").json()["results"][0]["role"] == "owner"


def test_an_only_owner_cannot_be_removed_by_a_service_either(owner, workspace):
    with pytest.raises(Conflict, match="make another one first"):
        services.set_role(workspace=workspace, username="owner", role=Role.VIEWER, by=owner)


def test_the_command_makes_workspace_owner_and_token(db, cheap_hashing, monkeypatch):
    monkeypatch.setenv("UPS_OWNER_PASSWORD", "long-enough-17")
    out = StringIO()
    call_command("createworkspace", "north", "maria", "--staff", name="North", stdout=out)
    account = Account.objects.get(username="maria")
    assert account.is_staff
    assert not account.is_superuser
    assert account.check_password("long-enough-17")
    assert Membership.objects.get(account=account).role == "owner"
    assert with_token(out.getvalue().strip()).get(ME).json()["home_workspace"] == "north"


@pytest.mark.parametrize(
    ("slug", "password", "reason"),
    [
        ("alpha", "long-enough-17", "already"),
        ("north", "short", "at least 8 characters"),
        ("a b/c", "long-enough-17", "expected a slug"),
    ],
)
def test_the_command_says_what_is_wrong(workspace, monkeypatch, slug, password, reason):
    monkeypatch.setenv("UPS_OWNER_PASSWORD", password)
    with pytest.raises(CommandError, match=reason):
        call_command("createworkspace", slug, "maria")
    assert Workspace.objects.count() == 1
    assert not Account.objects.filter(username="maria").exists()


def test_another_scheme_is_told_ours(db):
    answer = APIClient().get(ME, headers={"Authorization": "Bearer something"})
    assert answer.status_code == 401
    assert "Authorization: Token" in answer.json()["detail"]
