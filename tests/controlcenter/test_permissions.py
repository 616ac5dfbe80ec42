"""Who may make which call: the whole set, for every role, a stranger and nobody."""

import uuid
from contextlib import contextmanager

import pytest
from api_table import CALLS, RANKS, SIGNED_IN, make, routes
from controlcenter_fixtures import client_of, make_dataset, make_schedule, make_task
from django.db import transaction
from django.db.models import Model

from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.rules.models import Rule
from controlcenter.platform.accounts.models import Account, Membership, Token
from controlcenter.platform.audit.services import record
from controlcenter.platform.log.models import Event
from controlcenter.platform.webhooks import services as webhooks
from controlcenter.platform.webhooks.models import Delivery
from controlcenter.serving.profiles.models import Item, Profile

pytestmark = pytest.mark.django_db
MARK = "sesame"


@contextmanager
def undone():
    """What is done inside is undone, so that each call finds the same rows."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def fill(model_version):
    """Gives a workspace a row of everything, each with a mark in it; returns their ids."""

    def fill(workspace, account, mark):
        base = make_dataset(workspace, name=f"base {mark}")
        old = model_version(of=workspace, dataset=base, code_version=mark)
        new = model_version(of=workspace, dataset=base, code_version=mark)
        guest, _ = Account.objects.get_or_create(username="guest")
        member = Membership.objects.create(workspace=workspace, account=guest, role="viewer")
        rule = Rule.objects.filter(workspace=workspace).first()
        Rule.objects.filter(pk=rule.pk).update(name=f"rule_{mark}")
        Profile.objects.create(
            workspace=workspace,
            user_id=f"user-{mark}",
            attributes={"plan": mark},
            embedding=[1.0] * 64,
            model_version=new,
            rule_revision=1,
            final_score=0.5,
            recommendations=[],
        )
        for kind in ("product", "app"):
            Item.objects.create(workspace=workspace, type=kind, item_id=f"{kind}-{mark}")
        Event.objects.create(
            workspace=workspace,
            event_id=uuid.uuid4(),
            source=mark,
            type="use",
            timestamp="2026-01-01T00:00:00Z",
            actor=f"user-{mark}",
            target=f"app-{mark}",
            target_type="app",
        )
        record(
            account=account,
            workspace=workspace,
            action="test.fill",
            target=workspace,
            details={"mark": mark},
        )
        webhook, _ = webhooks.create(
            workspace=workspace,
            account=account,
            fields={"name": mark, "url": f"https://receiver.example/{mark}"},
        )
        delivery = Delivery.objects.create(
            webhook=webhook, payload={"type": "ping", "data": {"mark": mark}}, status="failed"
        )
        report = EvaluationReport.objects.create(
            task_id=old.task_id,
            iteration=0,
            model_version=old,
            metrics={},
            report={"notes": [mark]},
        )
        token = Token.objects.create(user=account, name=mark)[0]
        return {
            "auth/tokens": str(token.id),
            "workspaces": workspace.slug,
            "members": str(member.pk),
            "datasets": str(make_dataset(workspace, name=f"free {mark}").pk),
            "rules": str(rule.pk),
            "tasks": str(make_task(workspace, base, name=mark).pk),
            "schedules": str(make_schedule(workspace, base, name=mark).pk),
            "users": f"user-{mark}",
            "products": f"product-{mark}",
            "apps": f"app-{mark}",
            "models": str(old.pk),
            "evaluations": str(report.pk),
            "webhooks": str(webhook.pk),
            "webhooks/deliveries": str(delivery.pk),
        }

    return fill


@pytest.fixture
def ids(fill, workspace, owner, settings):
    settings.EXPLANATION_WAIT_SECONDS = 0
    return fill(workspace, owner, MARK)


def test_the_table_has_every_call_of_every_route():
    known = {(call.method, call.route) for call in CALLS}
    there = {(method, route) for route, methods in routes() for method in methods}
    assert len(known) == len(CALLS)
    assert known == there


@pytest.mark.parametrize("role", RANKS)
def test_a_member_may_make_exactly_the_calls_of_the_role(team, ids, role):
    got, expected = {}, {}
    for call in CALLS:
        with undone():
            mine = ids
            if call.route == "auth/tokens/{id}/":
                token, _ = Token.objects.create(user=team.accounts[role])
                mine = ids | {"auth/tokens": str(token.id)}
            got[str(call)] = make(team.clients[role], call, mine).status_code
        expected[str(call)] = call.answer if call.allows(role) else 403
    assert got == expected


def test_nobody_may_make_any_call(anonymous, ids):
    got = {}
    for call in CALLS:
        with undone():
            got[str(call)] = make(anonymous, call, ids).status_code
    assert got == {str(call): 401 for call in CALLS}


def test_an_account_that_was_deactivated_may_make_no_call(team, ids):
    account = team.accounts["owner"]
    _, text = Token.objects.create(user=account)
    Account.objects.filter(pk=account.pk).update(is_active=False)
    client = client_of(None)
    client.credentials(HTTP_AUTHORIZATION=f"Token {text}")
    assert {make(client, call, ids).status_code for call in CALLS} == {401}


def test_a_stranger_who_names_the_workspace_finds_nothing(as_stranger, ids, workspace):
    got, expected = {}, {}
    for call in CALLS:
        with undone():
            answer = make(as_stranger, call, ids, workspace=workspace.slug)
        got[str(call)] = answer.status_code
        own = call.least != SIGNED_IN and not call.route.startswith("auth")
        expected[str(call)] = 404 if own or call.names_a_row else call.answer
    assert got == expected


def test_another_workspaces_rows_are_not_there(as_stranger, ids, fill, other_workspace, stranger):
    fill(other_workspace, stranger, "open")
    got, expected = {}, {}
    for call in CALLS:
        if not call.names_a_row and "{dataset}" not in call.body.values():
            continue
        with undone():
            got[str(call)] = make(as_stranger, call, ids).status_code
        expected[str(call)] = 404
    assert len(got) > 25
    assert got == expected


def test_a_member_of_two_workspaces_finds_a_row_only_in_its_own(
    team, ids, workspace, other_workspace
):
    account = team.accounts["owner"]
    Membership.objects.create(workspace=other_workspace, account=account, role="owner")
    got = {}
    for call in CALLS:
        if call.names_a_row and call.least not in {SIGNED_IN}:
            with undone():
                answer = make(team.clients["owner"], call, ids, workspace=other_workspace.slug)
            got[str(call)] = answer.status_code
    assert set(got.values()) == {404}, got


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_nothing_of_another_workspace_is_in_any_answer(
    as_stranger, ids, fill, other_workspace, stranger, accept
):
    """Pages for people too: their forms must not offer another workspace's rows to choose from."""
    mine = fill(other_workspace, stranger, "open")
    seen = 0
    kept_apart = ("datasets", "models", "tasks", "schedules")
    hidden = [MARK, *(ids[name] for name in kept_apart)]
    as_stranger.credentials(HTTP_ACCEPT=accept)
    for call in CALLS:
        if call.route.endswith("}/events/"):
            continue
        with undone():
            path = make(as_stranger, call, mine).wsgi_request.path
            answer = as_stranger.get(path)
        text = answer.content.decode()
        seen += "open" in text
        assert not [secret for secret in hidden if secret in text], (str(call), answer.status_code)
    assert seen > 15


def test_lists_and_counts_are_of_one_workspace(as_stranger, ids, fill, other_workspace, stranger):
    before = {call.route: as_stranger.get(f"/api/v1/{call.route}").json() for call in lists()}
    fill(other_workspace, stranger, "open")
    for call in lists():
        answer = as_stranger.get(f"/api/v1/{call.route}", {"page_size": 1000}).json()
        assert answer["count"] == len(answer["results"])
        assert MARK not in str(answer)
        if call.route not in {"workspaces/", "rules/", "rules/revisions/"}:
            assert answer["count"] > before[call.route]["count"], call


def lists():
    paged = {"", "accounts/me/", "lineage/", "lineage/openlineage/"} | {
        f"operations/{n}/" for n in ("status", "metrics", "incremental")
    }
    return [c for c in CALLS if c.method == "GET" and not c.names_a_row and c.route not in paged]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("tasks/", "dataset"),
        ("schedules/", "dataset"),
        ("models/", "dataset"),
        ("models/", "task"),
        ("evaluations/", "task"),
        ("datasets/", "source"),
        ("operations/audit/", "target_id"),
    ],
)
def test_a_filter_does_not_tell_whether_another_workspace_has_a_row(as_stranger, ids, path, name):
    theirs = ids["tasks" if name == "task" else "datasets"]
    told = as_stranger.get(f"/api/v1/{path}", {name: theirs})
    unknown = as_stranger.get(f"/api/v1/{path}", {name: str(uuid.uuid4())})
    assert (told.status_code, told.json()) == (unknown.status_code, unknown.json())


@pytest.mark.parametrize("name", ["dataset", "base_version"])
def test_a_foreign_key_does_not_tell_either(
    as_stranger, ids, fill, other_workspace, stranger, name
):
    mine = fill(other_workspace, stranger, "open")
    body = {"dataset": mine["datasets"], "parameters": {"mode": "embedding_only"}}
    answers = []
    for key in (ids["datasets" if name == "dataset" else "models"], str(uuid.uuid4())):
        with undone():
            answer = as_stranger.post("/api/v1/tasks/", body | {name: key}, format="json")
        answers.append((answer.status_code, answer.json()["detail"].replace(key, "…")))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


def test_methods_a_route_does_not_have_are_refused_as_such(as_owner, anonymous, ids):
    every = {"GET", "POST", "PUT", "PATCH", "DELETE"}
    for route, methods in routes():
        for method in every - methods:
            path = f"/api/v1/{route}"
            for name, value in (("user_id", "users"), ("item_id", "apps"), ("slug", "workspaces")):
                path = path.replace(f"{{{name}}}", ids[value])
            path = path.replace("{pk}", ids[route.split("/")[0]] if "{pk}" in path else "")
            path = path.replace("{id}", ids["auth/tokens"])
            answer = as_owner.generic(method, path, "{}", content_type="application/json")
            assert answer.status_code == 405, (method, route, answer.status_code)
            assert anonymous.generic(method, path).status_code in {401, 405}, (method, route)


def test_head_and_options_answer_whoever_may_get(team, ids):
    for call in CALLS:
        if call.method != "GET" or call.names_a_row:
            continue
        for role, client in team.clients.items():
            expected = call.answer if call.allows(role) else 403
            assert client.head(f"/api/v1/{call.route}").status_code == expected, (call, role)
            options = client.options(f"/api/v1/{call.route}")
            assert options.status_code == (200 if role in RANKS else 403), (call, role)


def test_every_scoped_model_is_narrowed_for_a_stranger(ids, stranger, other_workspace):
    """No model of a workspace shows a stranger a row of another's, whatever view uses it."""
    from controlcenter.platform.common.scoping import Scoped

    def models(base):
        for model in base.__subclasses__():
            yield from models(model)
            if not model._meta.abstract:
                yield model

    scoped: list[type[Model]] = list(models(Scoped))
    assert len(scoped) > 12
    for model in scoped:
        path = model.workspace_path
        visible = set(model.objects.visible_to(stranger).values_list(path, flat=True))
        assert visible <= {other_workspace.pk}, model
