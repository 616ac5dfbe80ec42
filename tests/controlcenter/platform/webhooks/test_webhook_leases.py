"""Leases of deliveries, and how senders share their room among receivers."""

import select
import threading

import pytest
from controlcenter_fixtures import make_task
from django.db.models.functions import Now
from webhook_fixtures import PATH, make_due, send_all, step, told, walk

from controlcenter.platform.webhooks import queue
from controlcenter.platform.webhooks.models import Delivery, Webhook
from controlcenter.platform.webhooks.posting import Answer

pytestmark = pytest.mark.django_db


def test_a_lease_that_ran_out_is_sent_again_and_the_late_failure_says_nothing(
    task, receiver, hook, sender
):
    """As after a crash between sending and writing down."""
    hook(receiver.url)
    step(task, "building")
    (first,) = queue.claim(10)
    assert queue.claim(10) == []
    make_due()
    send_all(sender)
    row = Delivery.objects.get()
    assert (row.status, row.attempts) == ("delivered", 2)
    assert queue.settle(first, Answer(500, "late")) == ""
    assert Delivery.objects.get().status == "delivered"


def test_a_late_success_counts(task, receiver, hook):
    hook(receiver.url)
    step(task, "building")
    (first,) = queue.claim(10)
    make_due()
    (second,) = queue.claim(10)
    assert queue.settle(first, Answer(500, "late")) == ""
    assert queue.settle(first, Answer(200)) == "delivered"
    assert queue.settle(second, Answer(500, "no")) == ""
    assert Delivery.objects.get().status == "delivered"


def test_a_webhook_has_few_requests_at_once_and_one_while_it_fails(
    workspace, ready_dataset, receivers, hook
):
    hook(receivers().url, "one")
    hook(receivers().url, "two")
    for _ in range(10):
        step(make_task(workspace, ready_dataset), "cancelled")
    claimed = queue.claim(100)
    assert sorted(_counts(claimed).values()) == [queue.AT_ONCE, queue.AT_ONCE]
    assert queue.claim(100) == []
    one = claimed[0]
    queue.settle(one, Answer(500, "no"))
    assert queue.claim(100) == [], "three are still under way"
    for other in claimed:
        if other.webhook == one.webhook and other is not one:
            queue.settle(other, Answer(200))
    assert Webhook.objects.get(pk=one.webhook).failing_since is None
    Webhook.objects.filter(pk=one.webhook).update(failing_since=Now())
    assert [other.webhook for other in queue.claim(100)] == [one.webhook]


def test_room_is_shared_in_turns(workspace, ready_dataset, receivers, hook):
    for name in ("one", "two", "three"):
        hook(receivers().url, name)
    for _ in range(5):
        step(make_task(workspace, ready_dataset), "cancelled")
    assert sorted(_counts(queue.claim(6)).values()) == [2, 2, 2]
    assert queue.claim(0) == []


def _counts(claimed):
    found = {}
    for one in claimed:
        found[one.webhook] = found.get(one.webhook, 0) + 1
    return found


def delivered(name):
    return Delivery.objects.filter(webhook__name=name, status="delivered").count()


def test_a_slow_receiver_holds_up_nobody_else(task, receivers, hook, sender):
    slow, quick = receivers(), receivers()
    hook(slow.url, "slow")
    hook(quick.url, "quick")
    release = threading.Event()
    slow.answer = lambda handler, got: 200 if release.wait(30) else 500
    walk(task)
    for count in range(1, len(PATH) + 1):
        sender.send_due()
        quick.wait_for(count)
        while delivered("quick") < count:
            select.select([sender.wake_read], [], [], 0.5)
            sender.hush()
            sender.settle()
    assert [to for _, to in told(quick)] == list(PATH)
    assert len(slow.wait_for(1)) == 1
    assert delivered("slow") == 0
    release.set()
    send_all(sender)
    assert [to for _, to in told(slow)] == list(PATH)
