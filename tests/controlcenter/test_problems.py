"""Whatever goes wrong, the answer is a problem (RFC 9457) that says what and where."""

import json
from urllib.parse import quote

import pytest
from api_table import CALLS
from django.db import OperationalError

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.platform.common.api.problems import flatten

pytestmark = pytest.mark.django_db
RULES = "/api/v1/rules/"


def is_problem(answer, status):
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body = json.loads(answer.content)
    assert (body["type"], body["status"]) == ("about:blank", status)
    assert body["title"]
    assert body["detail"]
    return body


def test_400_names_the_fields(as_operator):
    body = is_problem(as_operator.post(RULES, {"weight": 1000}, format="json"), 400)
    assert {e["field"] for e in body["errors"]} == {"name", "expression", "weight"}
    assert body["code"] == "invalid"
    assert body["instance"] == RULES


@pytest.mark.parametrize(
    "text",
    [b"{", b"", b"[1,", b'{"a": NaN}', b"\xff\xfe{}", b"[" * 100_000, b"{}{}", b'{"a": 1e5,}'],
)
@pytest.mark.parametrize("charset", ["", "; charset=utf-8", "; charset=zip", "; charset=hex"])
def test_400_for_a_body_that_is_no_json(as_operator, text, charset):
    answer = as_operator.post(RULES, text, content_type=f"application/json{charset}")
    is_problem(answer, 400)


@pytest.mark.parametrize("body", ["[]", '"text"', "17", "null", "[[]]", "true"])
def test_400_for_json_that_is_no_object(as_owner, body):
    for call in CALLS:
        if call.method in {"POST", "PUT", "PATCH"} and call.body and "{" not in call.route:
            answer = as_owner.post(f"/api/v1/{call.route}", body, content_type="application/json")
            is_problem(answer, 400)


def test_401_without_and_with_a_wrong_token(anonymous):
    assert is_problem(anonymous.get(RULES), 401)["code"] == "not_authenticated"
    for header in ("Token wrong", "Token", "Token a b", "Token \xff"):
        anonymous.credentials(HTTP_AUTHORIZATION=header)
        answer = anonymous.get(RULES)
        is_problem(answer, 401)
        assert answer["WWW-Authenticate"] == "Token"


def test_403_says_which_role_is_needed(as_viewer):
    body = is_problem(as_viewer.post(RULES, {}, format="json"), 403)
    assert body["detail"] == "Your role in this workspace is viewer; this needs operator."


@pytest.mark.parametrize(
    "path",
    [
        "rules/999999/",
        "rules/abc/",
        "rules/99999999999999999999999/",
        "tasks/17/",
        "nothing/",
        "rules",
        "datasets/00000000-0000-4000-8000-000000000000/",
        "rules/?page=9",
        "rules/?page=x",
        "rules/?page=99999999999999999999",
        "users/nobody/",
        "rules/?workspace=nowhere",
    ],
)
def test_404(as_owner, path):
    answer = as_owner.get(f"/api/v1/{path}")
    if answer.status_code == 301:
        answer = as_owner.get(answer["Location"])
        assert answer.status_code == 200
        return
    is_problem(answer, 404)


def test_405_and_415(as_operator):
    body = is_problem(as_operator.delete(RULES), 405)
    assert body["code"] == "method_not_allowed"
    is_problem(as_operator.post(RULES, "a=1", content_type="text/plain"), 415)
    is_problem(as_operator.post("/api/v1/events/", {"a": "b"}, format="multipart"), 415)


@pytest.mark.parametrize(
    "path", ["users/%00/", "users/a%00b/", "rules/?name=%00", "rules/?workspace=%00"]
)
def test_a_nul_in_an_address_is_a_400(as_owner, path):
    assert "NUL" in is_problem(as_owner.get(f"/api/v1/{path}"), 400)["detail"]


ODD = [
    "",
    "x",
    "-1",
    "1e999",
    "9" * 40,
    "nan",
    "inf",
    "0001-01-01T00:00:00+14:00",
    "😀",
    "9999-12-31T23:59:59-14:00",
    "'; DROP TABLE x",
    "null",
    "[]",
    "a" * 5000,
    "\ufffe",
    "%",
]


def test_no_filter_value_makes_the_server_fail(as_owner):
    names = [
        "name",
        "name__icontains",
        "weight__gte",
        "revision",
        "state",
        "state__in",
        "dataset",
        "created_at__gte",
        "source",
        "number",
        "schema_hash",
        "event_id",
        "timestamp__lt",
        "actor",
        "user_id",
        "score_min",
        "active_after",
        "scored",
        "rule",
        "item_id__startswith",
        "role",
        "at__gte",
        "action__startswith",
        "ordering",
        "page",
        "page_size",
        "workspace",
        "format",
    ]
    lists = [c.route for c in CALLS if c.method == "GET" and "{" not in c.route]
    got = set()
    for route in lists:
        for odd in ODD:
            answer = as_owner.get(f"/api/v1/{route}", dict.fromkeys(names[:-4], odd))
            got.add(answer.status_code)
            assert answer.status_code in {200, 400, 404}, (route, odd)
    for name in names[-5:]:
        for odd in ODD:
            answer = as_owner.get(RULES, {name: odd})
            assert answer.status_code in {200, 400, 404}, (name, odd)
    assert got >= {200, 400}


def test_409_says_what_state_things_are_in(as_operator):
    answer = as_operator.post("/api/v1/models/rollback/", {"reason": "x"}, format="json")
    assert "no model version yet" in is_problem(answer, 409)["detail"]


def test_503_while_the_database_is_away(as_owner, monkeypatch):
    def away(*args, **kwargs):
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(Dataset.objects, "all", away)
    monkeypatch.setattr("controlcenter.platform.accounts.permissions.role_in", away)
    body = is_problem(as_owner.get(RULES), 503)
    assert body["detail"] == "The database does not answer right now: try again."


def test_500_is_a_problem_too(as_owner, monkeypatch):
    monkeypatch.setattr("controlcenter.platform.accounts.permissions.role_in", lambda *_: 1 / 0)
    answer = as_owner.get(RULES, headers={"X-Request-ID": "mine"})
    assert "X-Request-ID" in is_problem(answer, 500)["detail"]
    assert answer["X-Request-ID"] == "mine"


def test_every_answer_names_its_request(as_owner):
    ids = {as_owner.get(RULES)["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3
    assert "" not in ids


def test_pages_show_problems_to_people(as_owner):
    answer = as_owner.get(f"{RULES}999999/", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")
    assert "No Rule matches" in answer.content.decode()


def test_nested_errors_are_flattened():
    detail = {"a": ["one", "two"], "b": {"c": ["three"]}, "d": [{}, {"e": ["four"]}]}
    assert flatten(detail) == [
        {"field": "a", "detail": "one"},
        {"field": "a", "detail": "two"},
        {"field": "b.c", "detail": "three"},
        {"field": "d[1].e", "detail": "four"},
    ]
    assert flatten(["alone"]) == [{"field": "non_field_errors", "detail": "alone"}]


@pytest.mark.parametrize("offset", ["+16:00", "-23:59", "+00:00", "Z"])
@pytest.mark.parametrize(
    "path",
    ["events/?timestamp__gte=", "users/?active_after=", "tasks/?created_at__lte="],
)
def test_filters_by_time_take_any_offset(as_owner, path, offset):
    moment = quote(f"2026-01-01T00:00:00{offset}")
    assert as_owner.get(f"/api/v1/{path}{moment}").status_code == 200


@pytest.mark.parametrize("query", ["bogus=1", "ordering=nope", "ordering=-name,x", "state=nope"])
def test_an_unknown_filter_or_order_is_refused(as_owner, query):
    is_problem(as_owner.get(f"/api/v1/tasks/?{query}"), 400)
