"""What is told, in which order, how often, and what comes of it."""

import random
from datetime import timedelta
from functools import partial

import pytest
from controlcenter_fixtures import make_task
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from hypothesis import given
from hypothesis import strategies as st
from webhook_fixtures import PATH, make_due, send_all, step, told, verified, walk

from controlcenter.modelling.tasks import services as tasks
from controlcenter.modelling.tasks.spec import parameters
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.webhooks import queue, services
from controlcenter.platform.webhooks import sender as sending
from controlcenter.platform.webhooks.models import Delivery, Webhook
from controlcenter.platform.webhooks.posting import Answer, post

pytestmark = pytest.mark.django_db


def test_a_task_is_told_from_its_creation_to_its_end(
    workspace, owner, ready_dataset, receiver, hook, sender
):
    _, secret = hook(receiver.url)
    asked = tasks.TaskSpec("refresh", parameters.defaults(), dataset=ready_dataset, name="mine")
    task, _ = tasks.create(workspace=workspace, account=owner, spec=asked)
    walk(task)
    send_all(sender)
    assert told(receiver) == [
        (None, "pending"), ("pending", "building"), ("building", "training"),
        ("training", "embedding"), ("embedding", "completed"),
    ]  # fmt: skip
    rows = list(Delivery.objects.order_by("event_id"))
    assert [got.key for got in receiver.got] == [str(row.pk) for row in rows]
    assert all(verified(secret, got) for got in receiver.got)
    assert {row.status for row in rows} == {"delivered"}
    assert all(row.attempts == 1 and row.last_status_code == 200 for row in rows)
    assert all(row.first_attempt_at and row.delivered_at for row in rows)
    assert receiver.got[0].data | {"transition": 0} == {
        "workspace": "alpha", "task": str(task.pk), "name": "mine", "workflow": "refresh",
        "mode": "full_retrain", "dataset": str(ready_dataset.pk), "transition": 0,
        "from": None, "to": "pending", "iteration": 0, "version": 0,
        "actor": "owner", "reason": "created",
    }  # fmt: skip
    assert [got.data["version"] for got in receiver.got] == [0, 1, 2, 3, 4]


def test_only_the_states_that_were_asked_for(task, receivers, hook, sender):
    some, every = receivers(), receivers()
    hook(some.url, "some", states=["failed", "completed"])
    hook(every.url, "every")
    hook(every.url, "off", enabled=False)
    walk(task)
    send_all(sender)
    assert [to for _, to in told(some)] == ["completed"]
    assert [to for _, to in told(every)] == list(PATH)


def test_another_workspaces_tasks_are_not_told(task, other_workspace, stranger, receiver, sender):
    services.create(
        workspace=other_workspace, account=stranger, fields={"name": "x", "url": receiver.url}
    )
    walk(task)
    send_all(sender)
    assert receiver.got == []


def test_a_transition_that_is_rolled_back_leaves_no_delivery(task, receiver, hook, sender):
    hook(receiver.url)
    with transaction.atomic():
        step(task, "building")
        assert Delivery.objects.count() == 1
        transaction.set_rollback(True)
    send_all(sender)
    assert (Delivery.objects.count(), receiver.got) == (0, [])


def test_what_fails_is_tried_again_with_the_same_key_and_body(task, receiver, hook, sender):
    _, secret = hook(receiver.url)
    answers = [500, 429, 302, 204]
    receiver.answer = lambda handler, got: answers[len(receiver.got) - 1]
    step(task, "building")
    for attempt in (1, 2, 3, 4):
        send_all(sender)
        row = Delivery.objects.get()
        assert (row.attempts, row.last_status_code) == (attempt, answers[attempt - 1])
        assert (row.status == "delivered") == (attempt == 4)
        if attempt < 4:
            assert row.last_error.startswith(f"answered {answers[attempt - 1]}")
            send_all(sender)
            assert len(receiver.got) == attempt, "not before its pause is over"
            make_due()
    assert len({(got.key, got.body) for got in receiver.got}) == 1
    assert all(verified(secret, got) for got in receiver.got)
    assert row.last_error == ""


def test_a_receiver_that_does_not_answer_in_time_is_tried_again(
    task, receiver, hook, sender, monkeypatch
):
    hook(receiver.url)
    receiver.answer = lambda handler, got: handler.rfile.read(1) and None
    step(task, "building")
    with monkeypatch.context() as hasty:
        hasty.setattr(sending, "post", partial(post, total=1.0))
        send_all(sender)
    row = Delivery.objects.get()
    assert (row.status, row.last_status_code) == ("pending", None)
    assert "no whole answer" in row.last_error
    receiver.answer = lambda handler, got: 200
    make_due()
    send_all(sender)
    assert Delivery.objects.get().status == "delivered"


def test_it_is_given_up_after_the_last_attempt_and_the_next_one_goes(
    task, receiver, hook, sender, settings
):
    settings.WEBHOOK_ATTEMPTS = 3
    hook(receiver.url)
    receiver.answer = lambda handler, got: 500 if got.data["to"] == "building" else 200
    walk(task, "building", "training")
    for _ in range(3):
        assert [to for _, to in told(receiver)] == ["building"] * len(receiver.got)
        send_all(sender)
        make_due()
    send_all(sender)
    assert [to for _, to in told(receiver)] == ["building"] * 3 + ["training"]
    statuses = Delivery.objects.order_by("event_id").values_list("status", "attempts")
    assert list(statuses) == [("failed", 3), ("delivered", 1)]


def test_tasks_do_not_wait_for_each_other(workspace, ready_dataset, task, receiver, hook, sender):
    hook(receiver.url)
    other = make_task(workspace, ready_dataset, name="second")
    receiver.answer = lambda handler, got: 500 if got.data["name"] == "first" else 200
    walk(task)
    walk(other)
    send_all(sender)
    names = [(got.data["name"], got.data["to"]) for got in receiver.got]
    assert [to for name, to in names if name == "first"] == ["building"]
    assert [to for name, to in names if name == "second"] == list(PATH)


def test_a_replay_has_the_same_key_and_body(task, owner, receiver, hook, sender, settings):
    settings.WEBHOOK_ATTEMPTS = 1
    _, secret = hook(receiver.url)
    answers = [500, 500, 200, 200]
    receiver.answer = lambda handler, got: answers[len(receiver.got) - 1]
    step(task, "building")
    statuses = []
    for again in (False, True, True, True):
        if again:
            services.replay(delivery=Delivery.objects.get(), account=owner)
        send_all(sender)
        statuses.append(Delivery.objects.get().status)
    assert statuses == ["failed", "failed", "delivered", "delivered"]
    assert len(receiver.got) == Delivery.objects.get().attempts == 4
    assert len({(got.key, got.body) for got in receiver.got}) == 1
    assert all(verified(secret, got) for got in receiver.got)
    replays = AuditEntry.objects.filter(action="webhook.replay").order_by("id")
    assert [entry.details["was"] for entry in replays] == ["failed", "failed", "delivered"]


def test_a_replay_has_all_its_attempts_again(task, owner, receiver, hook, sender, settings):
    settings.WEBHOOK_ATTEMPTS = 2
    hook(receiver.url)
    receiver.answer = lambda handler, got: 500
    step(task, "building")
    statuses = []
    for attempt in range(4):
        if attempt == 2:
            services.replay(delivery=Delivery.objects.get(), account=owner)
        send_all(sender)
        statuses.append(Delivery.objects.get().status)
        make_due()
    assert statuses == ["pending", "failed", "pending", "failed"]
    assert Delivery.objects.get().attempts == 4


def test_gone_disables_the_webhook_and_drops_what_waits(task, owner, receivers, hook, sender):
    gone, well = receivers(), receivers()
    webhook, _ = hook(gone.url, "gone")
    hook(well.url, "well")
    gone.answer = lambda handler, got: 410
    walk(task)
    send_all(sender)
    webhook.refresh_from_db()
    assert not webhook.enabled
    assert len(gone.got) == 1
    assert set(webhook.deliveries.values_list("status", flat=True)) == {"dropped"}
    assert [to for _, to in told(well)] == list(PATH)
    entry = AuditEntry.objects.get(action="webhook.disable")
    assert (entry.actor, entry.target_id) == ("system", str(webhook.pk))
    gone.answer = lambda handler, got: 200
    services.update(webhook=webhook, account=owner, fields={"enabled": True})
    first = webhook.deliveries.order_by("event_id").first()
    services.replay(delivery=first, account=owner)
    send_all(sender)
    assert [got.key for got in gone.got] == [str(first.pk)] * 2


def test_what_was_left_for_a_disabled_webhook_is_dropped_by_the_upkeep(
    task, receiver, hook, sender
):
    webhook, _ = hook(receiver.url)
    step(task, "building")
    Webhook.objects.filter(pk=webhook.pk).update(enabled=False)
    send_all(sender)
    assert Delivery.objects.get().status == "pending"
    sender.keep_up()
    assert Delivery.objects.get().status == "dropped"
    assert receiver.got == []


def test_a_private_address_is_refused_and_tried_again_later(
    task, owner, receiver, hook, sender, settings
):
    hook(receiver.url.replace("127.0.0.1", "localhost"))
    settings.WEBHOOK_PRIVATE_ADDRESSES = False
    step(task, "building")
    send_all(sender)
    row = Delivery.objects.get()
    assert (row.status, row.attempts, row.last_status_code) == ("pending", 1, None)
    assert "no public address" in row.last_error
    assert receiver.got == []


def test_secrets_before_and_after_a_rotation(task, owner, receiver, hook, sender):
    webhook, old = hook(receiver.url)
    new = services.rotate(webhook=webhook, account=owner)
    step(task, "building")
    send_all(sender)
    assert [verified(secret, receiver.got[0]) for secret in (old, new)] == [True, True]
    Webhook.objects.update(rotated_at=Now() - timedelta(hours=25))
    services.test(webhook=webhook, account=owner)
    send_all(sender)
    assert [verified(secret, receiver.got[1]) for secret in (old, new)] == [False, True]


def test_another_key_of_the_system_is_said_and_a_new_secret_mends_it(
    task, owner, receiver, hook, sender, settings
):
    webhook, _ = hook(receiver.url)
    step(task, "building")
    settings.SECRET_KEY = "another"
    send_all(sender)
    assert "UPS_SECRET_KEY was changed" in Delivery.objects.get().last_error
    assert receiver.got == []
    secret = services.rotate(webhook=webhook, account=owner)
    make_due()
    send_all(sender)
    assert verified(secret, receiver.got[0])


def test_pauses_grow_to_a_cap_and_ten_attempts_take_about_a_day():
    random.seed(1)
    for attempt in range(1, 40):
        plain = min(5.0 * 4 ** (attempt - 1), 8 * 3600.0)
        for _ in range(20):
            assert 0.8 * plain <= queue.pause(attempt).total_seconds() <= 1.2 * plain
    total = sum(min(5 * 4**n, 8 * 3600) for n in range(9))
    assert 22 * 3600 < total < 26 * 3600


def test_old_deliveries_are_forgotten_pending_ones_never(task, receiver, hook, sender):
    hook(receiver.url)
    walk(task, "building", "training", "embedding")
    one, two, three = Delivery.objects.order_by("event_id")
    Delivery.objects.filter(pk__in=[one.pk, two.pk]).update(status="delivered")
    Delivery.objects.exclude(pk=two.pk).update(created_at=F("created_at") - timedelta(days=31))
    sender.keep_up()
    assert set(Delivery.objects.values_list("pk", flat=True)) == {two.pk, three.pk}


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([200, 500])), max_size=25))
def test_whatever_fails_each_task_is_told_in_order_and_everything_arrives_once_at_least(script):
    """Random answers: what a receiver keeps by key is the path of each task, in its order."""
    keys = _simulate(script)
    for path in keys.values():
        assert path == sorted(path)


def _simulate(script):
    """The order of first successes of three tasks with the claims of a sender without a network."""
    answers = iter(script)
    done = {}
    with transaction.atomic():
        workspace = Workspace.objects.create(slug="sim", name="Sim")
        webhook = Webhook.objects.create(
            workspace=workspace, name="x", url="http://x.example/", secret_salt="00" * 32
        )
        made = [make_task(workspace, None, name=str(n)) for n in range(3)]
        for one in made:
            walk(one)
        for _ in range(200):
            make_due()
            found = queue.claim(100)
            if not found:
                break
            for one in found:
                _, status = next(answers, (0, 200))
                if queue.settle(one, Answer(status, "" if status == 200 else "no")) == "delivered":
                    row = Delivery.objects.get(pk=one.id)
                    done.setdefault(row.subject_id, []).append(row.event_id)
        assert webhook.deliveries.exclude(status="delivered").count() == 0
        assert {len(path) for path in done.values()} == {len(PATH)}
        transaction.set_rollback(True)
    assert connection.in_atomic_block
    return done
