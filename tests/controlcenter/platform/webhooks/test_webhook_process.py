"""The sender as a process: kills, stops, a database that goes away; and several at once."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from controlcenter_fixtures import make_task
from django.conf import settings as django_settings
from django.db import connection, transaction
from waiting import PATIENCE, somebody_waits_for_me, wait_until
from webhook_fixtures import make_due, step, verified, walk

from controlcenter.modelling.tasks.models import Task, Transition
from controlcenter.platform.runs.models import Chore
from controlcenter.platform.webhooks import queue, services
from controlcenter.platform.webhooks.models import Delivery, DeliveryStatus

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]


@pytest.fixture
def start(tmp_path):
    """Starts ``manage.py webhooks`` on the database of the tests; kills what is left."""
    started = []
    there = connection.settings_dict
    database = f"{there['USER']}:{there['PASSWORD']}@{there['HOST']}:{there['PORT']}"

    def start():
        process = subprocess.Popen(
            [sys.executable, "manage.py", "webhooks"],
            cwd=django_settings.BASE_DIR,
            env=os.environ
            | {
                "UPS_DATABASE_URL": f"postgres://{database}/{there['NAME']}",
                "UPS_DATA_DIR": str(tmp_path),
                "UPS_WEBHOOK_PRIVATE_ADDRESSES": "1",
                "UPS_LOG_LEVEL": "WARNING",
            },
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(PATIENCE)


def all_delivered():
    return not Delivery.objects.exclude(status=DeliveryStatus.DELIVERED).exists()


def test_a_committed_transition_is_sent_by_the_process(task, receiver, hook, start):
    _, secret = hook(receiver.url)
    start()
    walk(task)
    wait_until(all_delivered)
    assert [got.data["to"] for got in receiver.got] == [
        "building", "training", "embedding", "completed",
    ]  # fmt: skip
    assert all(verified(secret, got) for got in receiver.got)
    assert Chore.objects.filter(name="webhooks").exists()


def test_killed_between_sending_and_writing_down_it_sends_again_with_the_same_key(
    task, receiver, hook, start
):
    hook(receiver.url)
    release = threading.Event()
    receiver.answer = lambda handler, got: release.wait(PATIENCE) and 200
    process = start()
    step(task, "building")
    wait_until(lambda: receiver.got)
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    release.set()
    row = Delivery.objects.get()
    assert (row.status, row.attempts) == ("pending", 1)
    start()
    make_due()
    wait_until(all_delivered)
    first, second = receiver.got
    assert (first.key, first.body) == (second.key, second.body)
    assert Delivery.objects.get().attempts == 2


def test_told_to_stop_it_ends_what_is_under_way(task, receiver, hook, start):
    hook(receiver.url)
    release = threading.Event()
    receiver.answer = lambda handler, got: release.wait(PATIENCE) and 200
    process = start()
    step(task, "building")
    wait_until(lambda: receiver.got)
    process.send_signal(signal.SIGTERM)
    release.set()
    assert process.wait(PATIENCE) == 0
    assert Delivery.objects.get().status == "delivered"


def test_idle_it_stops_at_once_when_told(task, start, receiver, hook):
    hook(receiver.url)
    process = start()
    wait_until(lambda: Chore.objects.filter(name="webhooks").exists())
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_it_goes_on_after_its_connections_were_cut(task, receiver, hook, start):
    """Also one that is cut while a request is under way: what came of it is not lost."""
    hook(receiver.url)
    release = threading.Event()
    receiver.answer = lambda handler, got: release.wait(PATIENCE) and 200
    process = start()
    step(task, "building")
    wait_until(lambda: receiver.got)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone()[0] >= 1
    release.set()
    wait_until(all_delivered)
    walk(Task.objects.get(), "training", "embedding", "completed")
    wait_until(all_delivered)
    assert len(receiver.got) == 4, "nothing was sent twice"
    assert process.poll() is None


def test_two_processes_share_the_work(workspace, ready_dataset, receivers, hook, start):
    some = [receivers(), receivers()]
    for number, receiver in enumerate(some):
        hook(receiver.url, f"hook {number}")
    start()
    start()
    for number in range(8):
        walk(make_task(workspace, ready_dataset, name=str(number)))
    wait_until(all_delivered)
    for receiver in some:
        keys = [got.key for got in receiver.got]
        assert len(keys) == len(set(keys)) == 32, "each once: nobody died"
        for number in range(8):
            mine = [got.data for got in receiver.got if got.data["name"] == str(number)]
            assert [one["version"] for one in mine] == [1, 2, 3, 4]


def in_threads(*jobs):
    """Run the jobs at the same time, each with a connection of its own; raise what one raised."""
    raised = []

    def run(job):
        try:
            job()
        except BaseException as error:
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[job]) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    if raised:
        raise raised[0]


def test_senders_that_claim_at_once_never_get_the_same_nor_too_many(
    workspace, ready_dataset, receivers, hook
):
    for name in ("one", "two", "three"):
        hook(receivers().url, name)
    for _ in range(12):
        step(make_task(workspace, ready_dataset), "cancelled")
    found = []

    def claim_often():
        for _ in range(10):
            found.extend(queue.claim(5))

    in_threads(*[claim_often] * 4)
    assert len({one.id for one in found}) == len(found)
    counts = {one.webhook: [x.webhook for x in found].count(one.webhook) for one in found}
    assert sorted(counts.values()) == [queue.AT_ONCE] * 3


def test_a_webhook_that_is_deleted_meanwhile_does_not_undo_the_transition(
    task, owner, receiver, hook
):
    webhook, _ = hook(receiver.url)
    written = threading.Event()

    def move_slowly():
        with transaction.atomic():
            step(task, "building")
            written.set()
            wait_until(somebody_waits_for_me)

    def delete():
        assert written.wait(PATIENCE)
        services.delete(webhook=webhook, account=owner)

    in_threads(move_slowly, delete)
    assert Transition.objects.filter(task=task).count() == 1
    assert Delivery.objects.count() == 0


def test_a_transition_that_meets_a_delete_waits_and_tells_nobody(task, owner, receiver, hook):
    webhook, _ = hook(receiver.url)
    deleted = threading.Event()

    def delete_slowly():
        with transaction.atomic():
            services.delete(webhook=webhook, account=owner)
            deleted.set()
            wait_until(somebody_waits_for_me)

    def move_on():
        assert deleted.wait(PATIENCE)
        step(task, "building")

    in_threads(delete_slowly, move_on)
    assert Transition.objects.filter(task=task).count() == 1
    assert Delivery.objects.count() == 0
