"""The OpenAPI document is valid, has every call, and says what the calls really answer."""

import copy
import json

import jsonschema
import pytest
from api_table import CALLS, make, routes
from controlcenter_fixtures import make_dataset, make_schedule, make_task
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from stored_reports import stored

from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.rules.models import Rule
from controlcenter.platform.accounts.models import Account, Membership, Token
from controlcenter.platform.log.models import Event
from controlcenter.platform.schedules.models import Fire
from controlcenter.platform.webhooks import services as webhooks
from controlcenter.platform.webhooks.models import Delivery
from controlcenter.serving.profiles.models import Explanation, Item, Profile

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def document():
    return SchemaGenerator().get_schema(request=None, public=True)


def plain(route):
    """The route with its parameters nameless, for comparison."""
    return "/".join("{}" if part.startswith("{") else part for part in route.split("/"))


def test_the_document_is_valid(document):
    validate_schema(document)


def test_every_call_is_in_the_document(document):
    told = {
        (method.upper(), plain(path))
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/api/v1/")
    }
    there = {(m, plain(f"/api/v1/{route}")) for route, methods in routes() for m in methods}
    assert told == there - {("GET", "/api/v1/")}


def test_every_call_documents_its_problems(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            codes = set(operation["responses"])
            assert {"401", "403"} <= codes, (method, path)
            assert "{" not in path or "404" in codes, (method, path)
            assert operation["operationId"]


def resolved(schema, document):
    """OpenAPI 3.0 as JSON schema: references followed, ``nullable`` as a type."""
    if isinstance(schema, list):
        return [resolved(part, document) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return resolved(target, document)
    made = {k: resolved(v, document) for k, v in schema.items() if k not in {"nullable", "xml"}}
    if made.get("type") == "object" and "properties" in made:
        made.setdefault("additionalProperties", False)
    return {"anyOf": [made, {"type": "null"}]} if schema.get("nullable") else made


def check(document, call, answer):
    """The answer's body is what the document says of this status."""
    path = next(p for p in document["paths"] if plain(p) == plain(f"/api/v1/{call.route}"))
    told = document["paths"][path][call.method.lower()]["responses"]
    assert str(answer.status_code) in told, (str(call), answer.status_code, list(told))
    content = told[str(answer.status_code)].get("content")
    if content is None:
        assert answer.content == b"", call
        return
    media = answer["Content-Type"].partition(";")[0]
    assert media in content, (str(call), media)
    schema = resolved(copy.deepcopy(content[media]["schema"]), document)
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    errors = list(
        jsonschema.Draft202012Validator(schema, format_checker=checker).iter_errors(answer.json())
    )
    assert not errors, (str(call), errors[0].json_path, errors[0].message[:300])


@pytest.fixture
def ids(workspace, team, owner, model_version, settings):
    """A row of everything, as full as can be."""
    settings.EXPLANATION_WAIT_SECONDS = 0
    base = make_dataset(workspace, name="base", report=stored("quality_wide"))
    old, new = model_version(dataset=base), model_version(dataset=base)
    guest = Account.objects.create_user("guest")
    profile = Profile.objects.create(
        workspace=workspace,
        user_id="u1",
        attributes={"plan": "basic", "monthly_fee": 3.5},
        label=True,
        base_counts={"call": 2},
        embedding=[1.0] * 64,
        rule_hits={"loyal": True},
        rule_score=0.1,
        model_score=0.2,
        gate=0.3,
        final_score=0.4,
        score_basis="label",
        recommendations=[
            {"type": "product", "item_id": "p1", "name": None, "score": 0.5, "reasons": ["so"]}
        ],
        model_version=new,
        rule_revision=1,
    )
    Profile.objects.create(workspace=workspace, user_id="bare")
    Profile.objects.create(
        workspace=workspace, user_id="u2", embedding=[0.5] * 64, model_version=new
    )
    Explanation.objects.create(
        profile=profile,
        model_version=new,
        rule_revision=1,
        profile_revision=1,
        state="ready",
        result=stored("explanation_evidence"),
    )
    for kind in ("product", "app"):
        Item.objects.create(workspace=workspace, type=kind, item_id="i1")
    Event.objects.create(
        workspace=workspace,
        event_id="00000000-0000-4000-8000-00000000000f",
        source="test",
        type="use",
        timestamp="2026-01-01T00:00:00Z",
        actor="u1",
        target="i1",
        target_type="app",
    )
    report = EvaluationReport.objects.create(
        task_id=new.task_id, iteration=1, model_version=new, metrics={"links.mrr": 0.5},
        report=stored("evaluation"),
    )  # fmt: skip
    webhook, _ = webhooks.create(
        workspace=workspace,
        account=owner,
        fields={"name": "chat", "url": "https://receiver.example/in", "states": ["failed"]},
    )
    Delivery.objects.create(webhook=webhook, payload={"type": "ping", "data": {}})
    done = make_task(workspace, base, state="failed", error="so", created_by=owner)
    told = Delivery.objects.create(
        webhook=webhook, subject_id=done.pk, payload={"type": "task.transition"}, status="failed",
        last_status_code=500, last_error="no", last_attempt_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    return {
        "auth/tokens": str(Token.objects.create(user=owner, name="x")[0].id),
        "workspaces": workspace.slug,
        "members": str(
            Membership.objects.create(workspace=workspace, account=guest, role="viewer").pk
        ),
        "datasets": str(make_dataset(workspace, name="free", created_by=owner).pk),
        "rules": str(Rule.objects.filter(workspace=workspace).first().pk),
        "tasks": str(make_task(workspace, base).pk),
        "schedules": str(schedule_with_fires(workspace, base, owner).pk),
        "users": "u1",
        "products": "i1",
        "apps": "i1",
        "models": str(old.pk),
        "evaluations": str(report.pk),
        "webhooks": str(webhook.pk),
        "webhooks/deliveries": str(told.pk),
    }


def schedule_with_fires(workspace, dataset, owner):
    schedule = make_schedule(workspace, dataset, created_by=owner)
    task = make_task(workspace, dataset, name="by the clock")
    Fire.objects.create(
        schedule=schedule, fire_time="2026-01-01T03:00:00Z", outcome="created", result_id=task.pk
    )
    Fire.objects.create(
        schedule=schedule,
        fire_time="2026-01-02T03:00:00Z",
        outcome="waiting",
        reason="Waits.",
        passed_over=2,
        asked_by="owner",
    )
    return schedule


def test_what_calls_answer_is_what_the_document_says(document, as_owner, ids):
    checked = 0
    for call in CALLS:
        if call.route in {"", "lineage/openlineage/"} or call.route.endswith("}/events/"):
            continue
        with transaction.atomic():
            answer = make(as_owner, call, ids)
            check(document, call, answer)
            transaction.set_rollback(True)
        checked += 1
    assert checked > 50


def test_problems_are_what_the_document_says(document, as_viewer, as_owner, anonymous, ids):
    for call in CALLS:
        if call.route in {"", "auth/tokens/"}:
            continue
        check(document, call, make(anonymous, call, ids))
        if not call.allows("viewer"):
            check(document, call, make(as_viewer, call, ids))
        if call.names_a_row:
            nobody = dict.fromkeys(ids, "00000000-0000-4000-8000-0000000000aa")
            check(document, call, make(as_owner, call, nobody))


def test_the_schemas_are_served(anonymous):
    for path in ("/api/schema/", "/api/docs/", "/api/redoc/"):
        assert anonymous.get(path).status_code == 200
    told = anonymous.get("/api/schema/?format=json")
    assert json.loads(told.content)["info"]["title"] == "User Profile System"


def test_a_multipart_upload_follows_the_document(document, as_owner, ids):
    call = next(c for c in CALLS if c.multipart)
    form = {"file": SimpleUploadedFile("u.csv", b"user_id\n1\n")}
    check(document, call, as_owner.post("/api/v1/datasets/", form))
    check(document, call, as_owner.post("/api/v1/datasets/", {}))
