"""Health says what is wrong; metrics are what the dashboard reads."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from prometheus_client.parser import text_string_to_metric_families

from controlcenter.celery import app
from controlcenter.operations import health
from controlcenter.platform.runs.models import Chore
from controlcenter.platform.runs.reaper import reap

pytestmark = pytest.mark.django_db
AWAY = "http://access:secret@127.0.0.1:1/bucket"


def failing(answer):
    body = answer.json()
    assert body["ok"] == (answer.status_code == 200)
    return {c["name"]: c["reason"] for c in body["checks"] if not c["ok"]}


def test_alive_is_whoever_answers(client):
    answer = client.get("/livez")
    assert (answer.status_code, answer.content) == (200, b"ok")


@pytest.mark.parametrize("path", ["/readyz", "/health"])
def test_all_is_well_once_the_reaper_has_run(client, path):
    answer = client.get(path)
    assert answer.status_code == 503
    assert failing(answer) == {"reaper": "the reaper has never run: is the relay running?"}
    reap()
    answer = client.get(path)
    assert failing(answer) == {}
    assert [c["name"] for c in answer.json()["checks"]] == list(health.CHECKS)


@pytest.mark.parametrize(("age", "told"), [(90, "ran 9"), (86_405, "ran 8640")])
def test_a_late_reaper_is_said(client, age, told):
    Chore.objects.create(name="reaper", last_at=Now() - timedelta(seconds=age))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert told in failing(answer)["reaper"]


def test_a_store_that_is_away_is_said(client, settings):
    reap()
    settings.OBJECT_STORE_URL = AWAY
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert list(failing(answer)) == ["object_store"]
    assert "does not answer" in failing(answer)["object_store"]


def test_a_bucket_that_is_missing_is_said(client, settings):
    reap()
    settings.OBJECT_STORE_URL += "-nothing-here"
    assert "there is no bucket" in failing(client.get("/readyz"))["object_store"]


def test_a_broker_that_is_away_is_said(client, monkeypatch):
    reap()
    away = app.connection_for_write("redis://127.0.0.1:1/0")
    monkeypatch.setattr(app, "connection_for_write", lambda **options: away)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert list(failing(answer)) == ["broker"]
    assert "refused" in failing(answer)["broker"]


def test_a_database_that_is_away_is_said(client, monkeypatch):
    from django.db import connection, connections

    reap()
    elsewhere = connection.copy()
    elsewhere.settings_dict = connection.settings_dict | {"HOST": "127.0.0.1", "PORT": "1"}
    monkeypatch.setattr(health, "connection", elsewhere)
    try:
        answer = client.get("/readyz")
    finally:
        elsewhere.close()
    assert answer.status_code == 503
    assert "refused" in failing(answer)["database"]
    assert "refused" in failing(answer)["migrations"]
    assert connections["default"] is not elsewhere


def test_a_missing_migration_is_said(client, monkeypatch):
    reap()
    plan = lambda self, targets: [("one", False)]  # noqa: E731
    monkeypatch.setattr(health.MigrationExecutor, "migration_plan", plan)
    reasons = failing(client.get("/readyz"))
    assert reasons == {"migrations": "1 migrations are missing: run manage.py migrate"}


def families(answer):
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    return {f.name: f for f in text_string_to_metric_families(answer.content.decode())}


def test_metrics_parse_and_count(client, team, as_operator, workspace, ready_dataset):
    body = {"dataset": str(ready_dataset.pk)}
    assert as_operator.post("/api/v1/tasks/", body, format="json").status_code == 201
    found = families(client.get("/metrics"))
    tasks = {s.labels["state"]: s.value for s in found["ups_tasks"].samples}
    assert tasks == {"pending": 1.0}
    runs = [(s.labels["kind"], s.labels["status"], s.value) for s in found["ups_runs"].samples]
    assert runs == [("building", "queued", 1.0)]
    assert [s.labels["queue"] for s in found["ups_queue_age_seconds"].samples] == ["refresh"]
    assert found["ups_outbox_unsent"].samples[0].value == 1
    assert found["ups_reaper_age_seconds"].samples[0].value == -1
    reap()
    age = families(client.get("/metrics"))["ups_reaper_age_seconds"].samples[0].value
    assert age >= 0


def test_metrics_ask_for_the_token_where_one_is_set(client, settings):
    settings.METRICS_TOKEN = "sesame"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer é"}):
        answer = client.get("/metrics", headers=headers)
        assert answer.status_code == 401
        assert answer["Content-Type"] == "application/problem+json"
    assert client.get("/metrics", headers={"Authorization": "Bearer sesame"}).status_code == 200
