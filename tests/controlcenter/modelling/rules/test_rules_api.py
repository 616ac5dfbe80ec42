"""Rules: each change is a revision, a bad expression says where and why, fusion follows once."""

import json
import math
import threading
import uuid

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import NotFound

from controlcenter.modelling.rules import services
from controlcenter.modelling.rules.models import Rule, RuleRevision
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.serving.profiles.models import Profile
from controlcenter.serving.profiles.queries import preview
from ml.contracts.schema import TELECOM
from ml.rules.rule_set import DEFAULT_RULES, compile_rule

pytestmark = pytest.mark.django_db
URL = "/api/v1/rules/"
NEW = {"name": "rich", "expression": "monthly_fee > 80", "weight": 1.5}


def revisions(workspace):
    return list(RuleRevision.objects.filter(workspace=workspace).order_by("revision"))


def make(client, **change):
    return client.post(URL, NEW | change, format="json")


def test_a_workspace_begins_with_the_default_rules(as_viewer, workspace):
    told = as_viewer.get(URL).json()["results"]
    assert [r["name"] for r in told] == [r.name for r in DEFAULT_RULES]
    assert all(r["sits_out"] is None for r in told)
    assert [r.revision for r in revisions(workspace)] == [1]


def test_every_change_is_the_next_revision_and_in_the_audit(as_operator, workspace):
    made = make(as_operator).json()
    url = f"{URL}{made['id']}/"
    as_operator.patch(url, {"weight": 2.0}, format="json")
    as_operator.put(url, NEW | {"weight": 3.0, "description": "why"}, format="json")
    assert as_operator.delete(url).status_code == 204
    told = revisions(workspace)
    assert [r.revision for r in told] == [1, 2, 3, 4, 5]
    assert [r.change for r in told[1:]] == [
        "create rich",
        "update rich",
        "update rich",
        "delete rich",
    ]
    weights = [{r["name"]: r["weight"] for r in revision.rules} for revision in told]
    assert [w.get("rich") for w in weights] == [None, 1.5, 2.0, 3.0, None]
    assert {r.actor for r in told[1:]} == {"operator"}
    entries = AuditEntry.objects.filter(workspace=workspace, action__startswith="rule.")
    assert [(e.action, e.actor, e.details["weight"]) for e in entries.order_by("id")] == [
        ("rule.create", "operator", 1.5),
        ("rule.update", "operator", 2.0),
        ("rule.update", "operator", 3.0),
        ("rule.delete", "operator", 3.0),
    ]
    newest = as_operator.get(f"{URL}revisions/").json()["results"][0]
    assert (newest["revision"], newest["change"]) == (5, "delete rich")


def test_a_change_that_changes_nothing_is_no_revision(as_operator, workspace):
    made = make(as_operator).json()
    before = len(revisions(workspace))
    for body in (NEW, NEW | {"description": ""}):
        assert as_operator.put(f"{URL}{made['id']}/", body, format="json").status_code == 200
    assert as_operator.patch(f"{URL}{made['id']}/", {}, format="json").status_code == 200
    assert len(revisions(workspace)) == before
    assert AuditEntry.objects.filter(action="rule.update").count() == 0


BAD = {
    "no expression": ("monthly_fee >", "expression"),
    "nothing": ("", "expression"),
    "unknown field": ("shoe_size > 40", "'shoe_size'"),
    "a call": ("__import__('os').system('true') == 0", "expression"),
    "another function": ("sum(monthly_fee) > 1", "sum"),
    "an attribute": ("monthly_fee.__class__ == 1", "expression"),
    "a lambda": ("(lambda: 1)() == 1", "expression"),
    "no condition": ("monthly_fee + 1", "expression"),
    "100 KB": ("monthly_fee > 1 or " * 6_000 + "monthly_fee > 1", "has 114015 characters"),
    "deep": ("(" * 2_000 + "monthly_fee > 1" + ")" * 2_000, "expression"),
    "NUL": ("plan == '\0'", "expression"),
    "surrogate": ("plan == '\ud800'", "expression"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("call", ["create", "update", "preview"])
def test_a_bad_expression_is_a_400_that_says_why(as_operator, workspace, name, call):
    expression, word = BAD[name]
    rule = Rule.objects.filter(workspace=workspace).first()
    method, url = {
        "create": (as_operator.post, URL),
        "update": (as_operator.patch, f"{URL}{rule.pk}/"),
        "preview": (as_operator.post, f"{URL}preview/"),
    }[call]
    body = json.dumps(NEW | {"expression": expression})  # escapes what UTF-8 can't carry
    answer = method(url, body, content_type="application/json")
    assert answer.status_code == 400, answer.content
    error = answer.json()["errors"][0]
    assert error["field"] == "expression"
    assert word in f"expression: {error['detail']}"
    assert len(error["detail"]) < 500
    assert len(revisions(workspace)) == 1


@pytest.mark.parametrize("weight", ["nan", "inf", "-inf", 101, -100.5, "heavy", None, 1e308])
def test_a_weight_out_of_range_is_refused(as_operator, weight):
    answer = make(as_operator, weight=weight)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "weight"


@pytest.mark.parametrize("name", ["Rich", "1st", "a b", "", "a" * 65, "high_value", "ré"])
def test_a_name_that_is_taken_or_odd_is_refused(as_operator, name):
    answer = make(as_operator, name=name)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "name"


def test_a_rule_cannot_take_anothers_name(as_operator, workspace):
    made = make(as_operator).json()
    body = {"name": "high_value"}
    answer = as_operator.patch(f"{URL}{made['id']}/", body, format="json")
    assert answer.status_code == 400
    assert "already" in answer.json()["detail"]


def test_a_full_set_takes_no_more(as_operator, workspace, monkeypatch):
    monkeypatch.setattr("controlcenter.modelling.rules.services.MAX_RULES", 4)
    answer = make(as_operator)
    assert answer.status_code == 409
    assert "at most 4 rules" in answer.json()["detail"]


def test_without_a_model_no_fusion_follows(as_operator, workspace):
    make(as_operator)
    assert not Task.objects.filter(workspace=workspace).exists()


def test_one_fusion_follows_several_changes(as_operator, workspace, model_version):
    model_version()
    make(as_operator)
    make(as_operator, name="richer")
    as_operator.delete(f"{URL}{Rule.objects.get(name='rich').pk}/")
    fusion = Task.objects.get(workspace=workspace, workflow="fusion")
    assert (fusion.state, fusion.base_version, fusion.dataset) == ("pending", None, None)
    assert fusion.runs.get().kind == "training"
    Task.objects.filter(pk=fusion.pk).update(state="training")
    make(as_operator, name="richest")
    assert Task.objects.filter(workspace=workspace, workflow="fusion").count() == 2


COUNTS = st.dictionaries(st.sampled_from(["call", "use"]), st.integers(1, 5))
USERS = st.lists(
    st.tuples(
        st.none() | st.floats(-10, 100, allow_nan=False),
        st.none() | st.sampled_from(["basic", "premium"]),
        COUNTS,
        COUNTS,
    ),
    min_size=1,
    max_size=12,
)
EXPRESSIONS = [
    "monthly_fee > 40",
    "plan == 'premium' or monthly_fee / 2 < 3",
    "event_counts['call'] >= 3",
    "event_counts.get('use', 0) == 0 and not (plan == 'basic')",
    "get(event_counts, 'call', 0) + max(monthly_fee, 1) > 5",
    "len(plan) == 5",
    "event_counts.get('sing', 0) == 0",
    "event_counts['sing'] > 0",
]


@given(USERS, st.sampled_from(EXPRESSIONS))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_preview_counts_what_the_rule_matches_one_by_one(db, users, expression):
    try:
        rule = compile_rule(expression, TELECOM)
    except ValueError:
        return
    workspace = Workspace.objects.create(slug=str(uuid.uuid4()), name="one example")
    matching = []
    for number, (fee, plan, base, live) in enumerate(users):
        given_attributes = {"monthly_fee": fee, "plan": plan}
        profile = Profile(
            workspace=workspace,
            user_id=f"u{number:02}",
            attributes={k: v for k, v in given_attributes.items() if v is not None},
            base_counts=base,
            live_counts=live,
        )
        profile.save()
        if rule.matches(profile.attributes | {"event_counts": profile.event_counts}):
            matching.append(profile.user_id)
    result = preview(workspace, expression, 5)
    assert (result.matches, result.users) == (len(matching), len(users))
    assert result.sample == matching[:5]
    assert math.isclose(result.share, len(matching) / len(users))
    assert set(result.fields_used) == rule.fields


def test_a_preview_of_no_users_is_empty(as_analyst, workspace):
    told = as_analyst.post(
        f"{URL}preview/", {"expression": "monthly_fee > 1"}, format="json"
    ).json()
    assert (told["matches"], told["users"], told["share"]) == (0, 0, 0.0)


@pytest.mark.parametrize("limit", [-1, 1001, "many"])
def test_a_preview_names_at_most_a_thousand(as_analyst, limit):
    body = {"expression": "monthly_fee > 1", "limit": limit}
    assert as_analyst.post(f"{URL}preview/", body, format="json").status_code == 400


@pytest.mark.django_db(transaction=True)
def test_of_many_deletes_at_once_one_finds_the_rule(as_operator, operator):
    rule = Rule.objects.get(pk=make(as_operator).json()["id"])
    outcomes, barrier = [], threading.Barrier(4)

    def compete():
        barrier.wait()
        try:
            services.delete(rule=rule, account=operator)
            outcomes.append("deleted")
        except NotFound:
            outcomes.append("not found")
        finally:
            connection.close()

    threads = [threading.Thread(target=compete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["deleted", "not found", "not found", "not found"]


def test_an_unknown_field_is_refused(as_operator):
    answer = as_operator.post(
        URL, {"name": "r", "expression": "monthly_fee > 1", "weight": 1, "bogus": 2}, format="json"
    )
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "bogus"


def test_a_patch_answers_the_new_time(as_operator):
    rule = make(as_operator).json()
    changed = as_operator.patch(f"{URL}{rule['id']}/", {"weight": 3.0}, format="json").json()
    assert changed == as_operator.get(f"{URL}{rule['id']}/").json()
    assert changed["updated_at"] > rule["updated_at"]
