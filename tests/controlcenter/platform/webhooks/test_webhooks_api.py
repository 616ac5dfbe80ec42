"""Webhooks through the API and the admin: who sees what, secrets once, audit, health, metrics."""

import json
import re
from datetime import timedelta

import pytest
from controlcenter_fixtures import client_of
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from webhook_fixtures import send_all, step, verified

from controlcenter.operations import health
from controlcenter.platform.accounts.models import Account
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.runs.models import Chore
from controlcenter.platform.webhooks import services, signing
from controlcenter.platform.webhooks.models import Delivery, Webhook

pytestmark = pytest.mark.django_db
URL = "/api/v1/webhooks/"
PLACE = "https://hooks.example/services/T00/very-secret?token=x"


def post(client, path, body=None):
    return client.post(path, body or {}, format="json")


def test_the_secret_is_shown_once_and_verifies(task, as_owner, as_operator, receiver, sender):
    made = post(as_owner, URL, {"name": "chat", "url": receiver.url})
    assert made.status_code == 201
    secret, row = made.json()["secret"], f"{URL}{made.json()['id']}/"
    assert post(as_operator, f"{row}test/").status_code == 202
    step(task, "building")
    send_all(sender)
    assert {json.loads(got.body)["type"] for got in receiver.got} == {"ping", "task.transition"}
    assert all(verified(secret, got) for got in receiver.got)
    new = post(as_owner, f"{row}rotate/").json()["secret"]
    assert new != secret
    shown = [as_owner.get(path).content.decode() for path in (URL, row)]
    shown.append(as_owner.patch(row, {"name": "talk"}, format="json").content.decode())
    shown.append(as_owner.get("/api/v1/operations/audit/").content.decode())
    shown.append(as_owner.get(f"{URL}deliveries/").content.decode())
    webhook = Webhook.objects.get()
    for text in shown:
        for hidden in (secret, new, webhook.secret_salt, webhook.secret_digest):
            assert hidden not in text
    stored = [str(value) for one in Webhook.objects.values() for value in one.values()]
    assert not [one for one in stored if secret[6:] in one or new[6:] in one]


@pytest.mark.parametrize("role", ["viewer", "analyst", "operator"])
def test_others_than_owners_see_no_path_of_the_address(team, as_owner, hook, role):
    hook(PLACE)
    path = f"{URL}{Webhook.objects.get().pk}/"
    for client in (team.clients[role],):
        for answer in (client.get(URL).json()["results"][0], client.get(path).json()):
            assert answer["url"] == "https://hooks.example/…"
    assert as_owner.get(path).json()["url"] == PLACE


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x"}, "url"),
        ({"name": "x", "url": "ftp://a.example/"}, "url"),
        ({"name": "x", "url": "https://user:word@a.example/"}, "url"),
        ({"name": "x", "url": "http://127.0.0.1:5432/"}, "url"),
        ({"name": "x", "url": "http://[::ffff:169.254.169.254]/"}, "url"),
        ({"name": "", "url": PLACE}, "name"),
        ({"name": "taken", "url": PLACE}, "name"),
        ({"name": "x", "url": PLACE, "states": ["finished"]}, "states.0"),
        ({"name": "x", "url": PLACE, "secret": "whsec_mine"}, "secret"),
    ],
)
def test_what_can_be_no_webhook_is_refused_with_field_and_reason(as_owner, hook, body, field):
    hook(PLACE, "taken")
    answer = post(as_owner, URL, body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert Webhook.objects.count() == 1


@pytest.mark.parametrize("before", ["https", "ftp", "", "http://["])
def test_a_refused_password_is_not_repeated(as_owner, before):
    answer = post(as_owner, URL, {"name": "x", "url": f"{before}://user:hunter2@a.example:x/"})
    assert answer.status_code == 400
    assert "hunter2" not in answer.content.decode()


def test_a_workspace_has_so_many_at_most(as_owner, hook):
    for number in range(services.MAX_WEBHOOKS):
        hook(PLACE, f"hook {number}")
    answer = post(as_owner, URL, {"name": "one more", "url": PLACE})
    assert answer.status_code == 409
    assert "at most 20" in answer.json()["detail"]


def test_each_change_is_in_the_audit_once(as_owner, as_operator, hook, owner):
    webhook, _ = hook(PLACE)
    path = f"{URL}{webhook.pk}/"
    as_owner.patch(path, {"states": ["failed", "completed", "failed"]}, format="json")
    as_owner.patch(path, {"states": ["completed", "failed"]}, format="json")
    post(as_owner, f"{path}rotate/")
    post(as_operator, f"{path}test/")
    Delivery.objects.update(status="failed")
    post(as_operator, f"{URL}deliveries/{Delivery.objects.get().pk}/replay/")
    as_owner.delete(path)
    entries = AuditEntry.objects.filter(action__startswith="webhook.").order_by("id")
    assert [(entry.action, entry.actor) for entry in entries] == [
        ("webhook.create", "owner"), ("webhook.update", "owner"), ("webhook.rotate", "owner"),
        ("webhook.test", "operator"), ("webhook.replay", "operator"), ("webhook.delete", "owner"),
    ]  # fmt: skip
    assert entries[1].details == {"name": "hook", "states": ["completed", "failed"]}
    assert (Webhook.objects.count(), Delivery.objects.count()) == (0, 0)


def test_disabling_drops_what_waits_and_enabling_lets_it_be_replayed(as_owner, hook):
    webhook, _ = hook(PLACE)
    path = f"{URL}{webhook.pk}/"
    delivery = post(as_owner, f"{path}test/").json()["id"]
    replay = f"{URL}deliveries/{delivery}/replay/"
    assert "is pending" in post(as_owner, replay).json()["detail"]
    as_owner.patch(path, {"enabled": False}, format="json")
    assert as_owner.get(f"{URL}deliveries/{delivery}/").json()["status"] == "dropped"
    for call in (replay, f"{path}test/"):
        answer = post(as_owner, call)
        assert (answer.status_code, "enable it" in answer.json()["detail"]) == (409, True)
    as_owner.patch(path, {"enabled": True}, format="json")
    answer = post(as_owner, replay)
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert answer.json()["id"] == delivery


def test_deliveries_are_found_by_webhook_task_status_and_time(task, as_viewer, hook):
    one, _ = hook(PLACE, "one")
    hook(PLACE, "two")
    step(task, "building")
    Delivery.objects.filter(webhook=one).update(
        status="failed", created_at=F("created_at") - timedelta(days=2)
    )

    def count(**query):
        return as_viewer.get(f"{URL}deliveries/", query).json()["count"]

    assert count() == 2
    assert (count(webhook=str(one.pk)), count(task=str(task.pk))) == (1, 2)
    assert (count(status="failed"), count(status__in="failed,pending")) == (1, 2)
    assert count(created_at__gte=(task.created_at - timedelta(days=1)).isoformat()) == 1


def test_lists_take_the_same_queries_however_long(
    task, as_viewer, hook, django_assert_max_num_queries
):
    for number in range(6):
        hook(PLACE, f"hook {number}")
    step(task, "building")
    for path in (URL, f"{URL}deliveries/"):
        with django_assert_max_num_queries(6):
            assert as_viewer.get(path).json()["count"] == 6


def metrics(client):
    text = client.get("/metrics").content.decode()
    return {
        family.name: {tuple(s.labels.values()): s.value for s in family.samples}
        for family in text_string_to_metric_families(text)
        if family.name.startswith("ups_webhook")
    }


def test_metrics_say_what_waits_and_who_fails(client, task, receiver, hook, sender):
    empty = {"ups_webhook_oldest_pending_seconds": {(): 0}, "ups_webhooks_failing": {(): 0}}
    assert metrics(client) == {"ups_webhook_deliveries": {}} | empty
    hook(receiver.url)
    answers = iter([200, 500])
    receiver.answer = lambda handler, got: next(answers)
    step(step(task, "building"), "training")
    Delivery.objects.update(created_at=F("created_at") - timedelta(seconds=100))
    assert metrics(client)["ups_webhook_oldest_pending_seconds"][()] >= 100
    send_all(sender)
    found = metrics(client)
    assert found["ups_webhook_deliveries"] == {("delivered",): 1, ("pending",): 1}
    assert found["ups_webhooks_failing"] == {(): 1}


def test_health_asks_for_the_sender_where_there_is_something_to_send(hook, sender):
    assert health.check("webhooks").ok
    hook(PLACE)
    missing = health.check("webhooks")
    assert (missing.ok, "never run" in missing.reason) == (False, True)
    sender.keep_up()
    assert health.check("webhooks").ok
    Chore.objects.filter(name="webhooks").update(last_at=Now() - timedelta(seconds=90))
    late = health.check("webhooks")
    assert (late.ok, "ago" in late.reason) == (False, True)


@pytest.fixture
def browser(owner):
    Account.objects.filter(pk=owner.pk).update(is_staff=True)
    client = Client()
    client.force_login(owner)
    return client


def test_the_admin_adds_shows_changes_and_deletes(browser, workspace, task):
    form = {"workspace": "alpha", "name": "chat", "url": PLACE, "states": ["failed"],
            "enabled": "on"}  # fmt: skip
    page = browser.post("/admin/webhooks/webhook/do/add/", form, follow=True)
    secret = re.search(r"whsec_[\w+/=]+", page.content.decode())[0]
    webhook = Webhook.objects.get()
    assert signing.digest(secret) == webhook.secret_digest
    assert secret not in browser.get("/admin/webhooks/webhook/").content.decode()
    row = f"/admin/webhooks/webhook/{webhook.pk}"
    assert PLACE.split("?")[0] in browser.get(f"{row}/change/").content.decode()
    refused = browser.post(f"{row}/do/edit/", form | {"url": "nothing"}).content.decode()
    assert "expected a URL" in refused
    browser.post(f"{row}/do/edit/", form | {"name": "talk", "states": []})
    webhook.refresh_from_db()
    assert (webhook.name, webhook.states) == ("talk", [])
    browser.post(f"{row}/do/test/")
    delivery = Delivery.objects.get()
    Delivery.objects.update(status="failed")
    page = browser.get(f"/admin/webhooks/delivery/{delivery.pk}/change/").content.decode()
    assert "Send again" in page
    data = {"action": "replay", "_selected_action": [str(delivery.pk)]}
    browser.post("/admin/webhooks/delivery/", data)
    assert Delivery.objects.get().status == "pending"
    rotated = browser.post(f"{row}/do/rotate/", {}, follow=True).content.decode()
    assert re.search(r"whsec_[\w+/=]+", rotated)[0] != secret
    browser.post(f"{row}/do/delete/", {})
    assert not Webhook.objects.exists()


def test_the_admin_shows_viewers_no_path(team, hook):
    webhook, _ = hook(PLACE)
    viewer = team.accounts["viewer"]
    Account.objects.filter(pk=viewer.pk).update(is_staff=True)
    client = Client()
    client.force_login(viewer)
    for path in ("", f"{webhook.pk}/change/"):
        page = client.get(f"/admin/webhooks/webhook/{path}").content.decode()
        assert "hooks.example" in page
        assert "very-secret" not in page


def test_a_token_of_another_workspace_sees_nothing(hook, other_workspace, stranger):
    hook(PLACE)
    assert client_of(stranger).get(URL).json()["count"] == 0
