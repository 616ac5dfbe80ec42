"""What becomes of a batch: every event is taken, known already, or rejected with a reason."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.log.models import Event
from controlcenter.platform.log.services import MAX_BATCH
from controlcenter.serving.profiles.models import Item, Profile

pytestmark = pytest.mark.django_db
URL = "/api/v1/events/"
PAYLOAD = {"actor": "u1", "target": "a1"}


def event(**change):
    body = {
        "event_id": str(uuid.uuid4()),
        "source": "test",
        "type": "use",
        "timestamp": "2026-01-31T12:00:00Z",
        "payload": PAYLOAD,
        "meta": {"version": "1.0"},
    }
    return {k: v for k, v in (body | change).items() if v is not ...}


def post(client, body):
    return client.post(URL, json.dumps(body), content_type="application/json")


def adds_up(receipt):
    parts = receipt["accepted"] + receipt["duplicates"] + len(receipt["rejected"])
    return parts == receipt["received"]


def test_the_same_batch_twice_has_one_effect(as_operator, workspace):
    batch = [event(), event(type="call", payload={"actor": "u1", "target": "u2"})]
    first, second = post(as_operator, batch).json(), post(as_operator, batch).json()
    assert (first["accepted"], first["duplicates"], first["created_users"]) == (2, 0, 2)
    assert (second["accepted"], second["duplicates"], second["created_users"]) == (0, 2, 0)
    assert Event.objects.filter(workspace=workspace).count() == 2
    caller = Profile.objects.get(workspace=workspace, user_id="u1")
    assert caller.event_counts == {"use": 1, "call": 1}
    assert caller.call_peers == 1


def test_of_two_events_with_one_id_in_a_batch_the_first_is_taken(as_operator, workspace):
    one = event(payload={"actor": "first", "target": "a1"})
    receipt = post(
        as_operator, [one, one | {"payload": {"actor": "second", "target": "a1"}}]
    ).json()
    assert (receipt["accepted"], receipt["duplicates"]) == (1, 1)
    assert Event.objects.get(workspace=workspace).actor == "first"


def test_workspaces_do_not_share_event_ids(as_operator, as_stranger, workspace, other_workspace):
    one = event()
    for client in (as_operator, as_stranger):
        assert post(client, one).json()["accepted"] == 1
    for place in (workspace, other_workspace):
        assert Profile.objects.get(workspace=place).event_counts == {"use": 1}


def test_an_unknown_user_is_made_with_defaults_and_counted(as_operator, workspace):
    call = event(type="call", payload={"actor": "new", "target": "also new"})
    receipt = post(as_operator, call).json()
    assert receipt["created_users"] == 2
    assert Event.objects.filter(workspace=workspace).count() == 1
    actor, target = Profile.objects.filter(workspace=workspace).order_by("-user_id")
    assert (actor.user_id, actor.attributes, actor.final_score) == ("new", {}, None)
    assert actor.event_counts == {"call": 1}
    assert (target.event_counts, target.last_event_at) == ({}, None)


def test_numbers_are_taken_as_ids(as_operator, workspace):
    assert post(as_operator, event(payload={"actor": 17, "target": 3})).status_code == 200
    assert Profile.objects.get(workspace=workspace).user_id == "17"
    assert Item.objects.get(workspace=workspace).item_id == "3"


FUTURE = (datetime.now(UTC) + timedelta(days=2)).isoformat()
BAD = {
    "no object": ("just text", "event", "got a str, expected an object"),
    "null": (None, "event", "got a NoneType"),
    "a list": ([[]], "event", "got a list"),
    "unknown field": (event(colour="red"), "event", "has the field 'colour'; known are"),
    "odd field": (event(**{"\ud800" * 5000: 1}), "event", "…; known are"),
    "no event_id": (event(event_id=...), "event_id", "got None, expected a UUID"),
    "bad event_id": (event(event_id="17"), "event_id", "got '17', expected a UUID"),
    "long type": (event(type="a" * 201), "type", "has 201 characters, at most 200"),
    "type of nothing": (event(type=""), "type", "got '', expected a text"),
    "type is a list": (event(type=["use"]), "type", "expected a text"),
    "odd type": (event(type="\ud800"), "type", "surrogate"),
    "odd source": (event(source="a\udfff"), "source", "surrogate"),
    "NUL in source": (event(source="a\0"), "source", "NUL"),
    "long source": (event(source="a" * 201), "source", "has 201 characters, at most 200"),
    "no time": (event(timestamp=...), "timestamp", "got None, expected ISO 8601 with a zone"),
    "time is a number": (event(timestamp=1700000000), "timestamp", "expected ISO 8601"),
    "no zone": (event(timestamp="2026-01-31T12:00:00"), "timestamp", "without a zone"),
    "no date": (event(timestamp="yesterday"), "timestamp", "got 'yesterday', expected ISO 8601"),
    "far future": (event(timestamp=FUTURE), "timestamp", "more than a day in the future"),
    "year 9999": (event(timestamp="9999-12-31T23:59:59-23:59"), "timestamp", "out of range"),
    "before 1970": (event(timestamp="1969-12-31T23:59:59Z"), "timestamp", "before 1970"),
    "1970 elsewhere": (event(timestamp="1970-01-01T00:30:00+01:00"), "timestamp", "before 1970"),
    "no payload": (event(payload=...), "payload", "expected an object with actor and target"),
    "payload is text": (event(payload="u1"), "payload", "got 'u1', expected an object"),
    "no actor": (event(payload={"target": "a"}), "payload.actor", "got None"),
    "no target": (event(payload={"actor": "u"}), "payload.target", "got None"),
    "blank target": (event(payload=PAYLOAD | {"target": "  "}), "payload.target", "not empty"),
    "target is true": (event(payload=PAYLOAD | {"target": True}), "payload.target", "got True"),
    "NUL in target": (event(payload=PAYLOAD | {"target": "a\0b"}), "payload", "NUL"),
    "NUL in a key": (event(payload=PAYLOAD | {"a\0b": 1}), "payload", "NUL"),
    "NUL within": (event(payload=PAYLOAD | {"x": [{"y": "\0"}]}), "payload", "NUL"),
    "surrogate within": (event(payload=PAYLOAD | {"x": ["\ud83d"]}), "payload", "surrogate"),
    "surrogate in meta": (event(meta={"x": "\ud83d"}), "meta", "surrogate"),
    "wrong target type": (
        event(payload=PAYLOAD | {"target_type": "product"}),
        "payload.target_type",
        "got 'product', expected one of ['app']",
    ),
    "meta is text": (event(meta="1.0"), "meta", "got '1.0', expected an object"),
    "other version": (event(meta={"version": "2.0"}), "meta.version", "got '2.0', expected '1.0'"),
    "large payload": (event(payload=PAYLOAD | {"x": "a" * 65536}), "payload", "at most 65536"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_event_is_named_and_keeps_no_other_out(as_operator, workspace, name):
    bad, field, reason = BAD[name]
    answer = post(as_operator, [event(), bad, event()])
    assert answer.status_code == 200, answer.content
    receipt = answer.json()
    assert (receipt["accepted"], len(receipt["rejected"])) == (2, 1)
    assert adds_up(receipt)
    assert receipt["rejected"][0]["index"] == 1
    assert receipt["rejected"][0]["field"] == field
    assert reason in receipt["rejected"][0]["reason"]
    assert len(receipt["rejected"][0]["reason"]) < 300
    assert Event.objects.filter(workspace=workspace).count() == 2


def test_a_batch_of_bad_events_alone_is_a_400(as_operator, workspace):
    answer = post(as_operator, [event(type=""), event(payload={})])
    assert answer.status_code == 400
    fields = {e["field"]: e["detail"] for e in answer.json()["errors"]}
    assert set(fields) == {"events[0].type", "events[1].payload.actor"}
    assert not Event.objects.filter(workspace=workspace).exists()


@pytest.mark.parametrize("count", [0, MAX_BATCH + 1])
def test_none_or_too_many_events_are_a_400(as_operator, count):
    answer = post(as_operator, [{}] * count)
    assert answer.status_code == 400
    assert f"got {count}, expected 1 to {MAX_BATCH}" in answer.json()["detail"]


@pytest.mark.parametrize("number", ["1e400", "-1e999"])
def test_a_number_that_no_float_holds_is_rejected(as_operator, number):
    body = json.dumps([event(), event(payload=PAYLOAD | {"x": 12345})]).replace("12345", number)
    receipt = as_operator.post(URL, body, content_type="application/json").json()
    assert receipt["accepted"] == 1
    assert "out of range" in receipt["rejected"][0]["reason"]


@pytest.mark.parametrize("depth", [40, 500, 900, 950, 990, 100_000])
def test_a_deep_payload_is_refused(as_operator, depth):
    body = json.dumps(event(payload=PAYLOAD | {"x": 12345}))
    body = body.replace("12345", "[" * depth + "]" * depth)
    answer = as_operator.post(URL, body, content_type="application/json")
    assert answer.status_code == 400
    assert "nested" in answer.json()["detail"]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_is_a_400_in_json_and_a_rejected_line_in_ndjson(as_operator, word):
    bad = json.dumps(event(payload=PAYLOAD | {"x": 12345})).replace("12345", word)
    answer = as_operator.post(URL, f"[{bad}]", content_type="application/json")
    assert answer.status_code == 400
    assert f"{word} is no JSON" in answer.json()["detail"]
    lines = f"{json.dumps(event())}\n{bad}\n"
    receipt = as_operator.post(URL, lines, content_type="application/x-ndjson").json()
    assert (receipt["accepted"], receipt["rejected"][0]["index"]) == (1, 1)


def test_ndjson_takes_the_lines_around_a_broken_one(as_operator, workspace):
    unseparated = event(payload=PAYLOAD | {"note": "a\u2028b\x85c"})
    lines = [
        json.dumps(event()).encode(),
        b'{"event_id": "half',
        b"",
        b"\xff\xfe",
        json.dumps(unseparated, ensure_ascii=False).encode(),
        b"[" * 100_000,
    ]
    body = b"\r\n".join(lines)
    receipt = as_operator.post(URL, body, content_type="application/x-ndjson").json()
    assert (receipt["received"], receipt["accepted"]) == (5, 2)
    assert [r["index"] for r in receipt["rejected"]] == [1, 2, 4]
    assert all("is no JSON" in r["reason"] for r in receipt["rejected"])
    assert adds_up(receipt)


def test_a_body_that_memory_should_not_hold_is_a_413(as_operator, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    for kind in ("application/json", "application/x-ndjson"):
        answer = as_operator.post(URL, json.dumps(event(source="a" * 1000)), content_type=kind)
        assert answer.status_code == 413
        assert answer["Content-Type"] == "application/problem+json"
        assert "more than 1000 bytes" in answer.json()["detail"]


def test_a_click_finds_its_target_by_id(as_operator, workspace):
    Item.objects.create(workspace=workspace, type="product", item_id="p1")
    Item.objects.create(workspace=workspace, type="app", item_id="a1")
    for target in ("p1", "a1"):
        click = event(type="click", payload={"actor": "u", "target": target})
        assert post(as_operator, click).status_code == 200
    types = Event.objects.filter(workspace=workspace).values_list("target", "target_type")
    assert dict(types) == {"p1": "product", "a1": "app"}


def test_a_click_finds_what_its_own_batch_names(as_operator, workspace):
    click = event(type="click", payload={"actor": "u", "target": "x"})
    receipt = post(as_operator, [click, event(payload={"actor": "u", "target": "x"})]).json()
    assert receipt["accepted"] == 2
    assert Item.objects.get(workspace=workspace).type == "app"


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [([], "nothing has the id 'x': say product or app"), (["product", "app"], "several kinds")],
)
def test_a_click_whose_target_is_open_is_rejected(as_operator, workspace, kinds, reason):
    for kind in kinds:
        Item.objects.create(workspace=workspace, type=kind, item_id="x")
    click = event(type="click", payload={"actor": "u", "target": "x"})
    alone = post(as_operator, click)
    assert alone.status_code == 400
    assert reason in alone.json()["detail"]
    receipt = post(as_operator, [click, event()]).json()
    assert receipt["rejected"][0]["field"] == "payload.target_type"
    assert adds_up(receipt)
    told = click | {"payload": click["payload"] | {"target_type": "app"}}
    assert post(as_operator, told).json()["accepted"] == 1


def test_while_ingestion_is_stopped_nothing_is_taken(as_operator, as_owner, workspace):
    switch = "/api/v1/operations/ingestion/"
    as_owner.post(f"{switch}stop/", {"reason": "the source sends rubbish"}, format="json")
    answer = post(as_operator, [event()])
    assert answer.status_code == 409
    assert "stopped by owner (the source sends rubbish)" in answer.json()["detail"]
    assert not Event.objects.filter(workspace=workspace).exists()
    assert not Profile.objects.filter(workspace=workspace).exists()
    as_owner.post(f"{switch}start/", {"reason": "mended"}, format="json")
    assert post(as_operator, [event()]).status_code == 200
    told = AuditEntry.objects.filter(workspace=workspace, action__startswith="ingestion")
    assert [(e.action, e.details["reason"]) for e in told] == [
        ("ingestion.start", "mended"),
        ("ingestion.stop", "the source sends rubbish"),
    ]


def test_the_log_is_read_with_filters(as_operator, as_viewer):
    post(as_operator, [event(), event(payload={"actor": "u2", "target": "a1"})])
    found = as_viewer.get(URL, {"actor": "u2"}).json()
    assert found["count"] == 1
    assert found["results"][0]["payload"] == {"actor": "u2", "target": "a1"}
    assert as_viewer.get(URL, {"timestamp__gte": "2026-02-01T00:00:00Z"}).json()["count"] == 0
    assert as_viewer.get(URL, {"event_id": "17"}).status_code == 400


def test_an_event_of_a_type_that_the_graph_does_not_know_is_kept(as_operator, as_viewer, workspace):
    price = event(type="price", payload={"price": 17.5, "venues": [{"id": 3}]}, meta={"via": "x"})
    receipt = post(as_operator, [price, event(), price]).json()
    assert (receipt["accepted"], receipt["outside_graph"], receipt["duplicates"]) == (2, 1, 1)
    assert receipt["created_users"] == 1
    assert adds_up(receipt)
    again = post(as_operator, price).json()
    assert (again["accepted"], again["outside_graph"], again["duplicates"]) == (0, 0, 1)
    kept = as_viewer.get(URL, {"type": "price"}).json()["results"]
    assert [(one["payload"], one["meta"]) for one in kept] == [(price["payload"], price["meta"])]
    assert Profile.objects.get(workspace=workspace).event_counts == {"use": 1}


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"payload": [1]}, "payload", "got [1], expected an object"),
        ({"payload": {"x": "\0"}}, "payload", "NUL"),
        ({"timestamp": "yesterday"}, "timestamp", "expected ISO 8601"),
        ({"event_id": "17"}, "event_id", "expected a UUID"),
    ],
)
def test_the_envelope_is_asked_of_every_event(as_operator, change, field, reason):
    bad = event(**({"type": "price", "payload": {}} | change))
    receipt = post(as_operator, [event(), bad]).json()
    assert [(one["index"], one["field"]) for one in receipt["rejected"]] == [(1, field)]
    assert reason in receipt["rejected"][0]["reason"]


def test_while_ingestion_is_stopped_no_event_of_any_type_is_taken(as_operator, as_owner):
    as_owner.post("/api/v1/operations/ingestion/stop/", {"reason": "repairs"}, format="json")
    answer = post(as_operator, [event(type="price", payload={})])
    assert answer.status_code == 409
    assert "Ingestion is stopped by owner (repairs): keep your events" in answer.json()["detail"]
    assert not Event.objects.exists()
