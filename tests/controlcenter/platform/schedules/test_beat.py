"""Beat and the relay: what each of them sends or does, either alone is enough."""

from contextlib import suppress
from datetime import timedelta

import pytest
from controlcenter_fixtures import make_schedule
from django.core.management import call_command
from django_celery_beat.models import PeriodicTask

from controlcenter.celery import app
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.common import clock
from controlcenter.platform.runs.management.commands import relay
from controlcenter.platform.schedules import beat
from controlcenter.platform.schedules.models import Fire, Schedule
from workers import app as worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def due(workspace, ready_dataset):
    """A schedule that was due in this minute, and will be again in an hour."""
    minute = clock.now().replace(second=0, microsecond=0)
    return make_schedule(
        workspace, ready_dataset, cron=f"{minute.minute} * * * *",
        decided_until=minute - timedelta(minutes=1), next_at=minute,
    )  # fmt: skip


@pytest.fixture
def queue():
    """The broker's queue ``control``, empty before and after."""
    with app.connection_for_read() as connection, connection.SimpleQueue("control") as queue:
        queue.clear()
        yield queue
        queue.clear()


def beat_once():
    """A beat process that starts, after its entries are long due, and looks at each of them."""
    scheduler = beat.Scheduler(app=app)
    PeriodicTask.objects.update(last_run_at=clock.now() - timedelta(days=1))
    scheduler = beat.Scheduler(app=app)
    for _ in range(6):
        scheduler.tick()
    scheduler.close()


def sent(queue):
    found = []
    with suppress(queue.Empty):
        while True:
            message = queue.get(block=False)
            message.ack()
            found.append(message)
    return found


def test_the_entries_of_beat_are_those_of_the_code():
    beat.Scheduler(app=app)
    found = {
        entry.name: (entry.task, entry.interval.every, entry.queue, entry.expire_seconds)
        for entry in PeriodicTask.objects.select_related("interval")
    }
    assert found == {
        "reap": ("workers.reap", 15, "control", 15),
        "fire": ("workers.fire", 15, "control", 15),
        "read-log": ("workers.read_log", 5, "control", 5),
        "sweep": ("workers.sweep", 3600, "control", 3600),
    }
    assert set(app.conf.beat_schedule) == set(found)
    assert {task for task, *_ in found.values()} <= set(worker.app.tasks)


def test_two_beats_and_each_message_twice_make_one_task(due, queue):
    for _ in range(2):
        beat_once()
    messages = [one for one in sent(queue) if one.headers["task"] == "workers.fire"]
    assert len(messages) == 2
    assert all(one.headers["expires"] for one in messages)
    for _ in [*messages, *messages]:
        worker.fire()
    assert Fire.objects.get().result_id == Task.objects.get().pk


def test_beat_shows_that_it_is_alive(queue):
    beat.ALIVE.unlink(missing_ok=True)
    beat_once()
    assert beat.ALIVE.exists()


def test_the_relay_fires_without_beat_and_without_the_broker(due, monkeypatch):
    command = relay.Command()
    monkeypatch.setattr(relay, "relay", lambda: command.stop() or 0)
    monkeypatch.setattr(relay.Listener, "wait", lambda listener, seconds: True)
    call_command(command)
    assert Fire.objects.get(schedule=due).result_id is not None
    assert Schedule.objects.get().next_at > clock.now()
