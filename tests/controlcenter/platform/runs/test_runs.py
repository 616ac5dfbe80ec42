"""Claims, leases, commits and what becomes of lost runs, case by case."""

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now

from controlcenter.modelling.tasks import services, states
from controlcenter.modelling.tasks.models import Task, TaskEvent
from controlcenter.modelling.tasks.spec.parameters import defaults
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.artifacts.store import Stored
from controlcenter.platform.runs import claims, commits, endings, kinds, reaper
from controlcenter.platform.runs.models import Outbox, Run, RunStatus
from controlcenter.platform.runs.outbox import relay
from controlcenter.platform.runs.owners import Owner, RunOutcome, StopRequest

pytestmark = pytest.mark.django_db


@pytest.fixture
def task(workspace):
    task = Task.objects.create(
        workspace=workspace, workflow=Workflow.REFRESH, parameters=defaults()
    )
    services.queue_first(task)
    return task


def queued(task):
    return task.runs.get(status=RunStatus.QUEUED)


def claim(task):
    held = claims.claim(queued(task).pk, worker="worker")
    assert held is not None
    return held


def state(task):
    return Task.objects.get(pk=task.pk).state


def expire(held):
    Run.objects.filter(pk=held.run_id).update(lease_expires_at=Now() - timedelta(seconds=1))


def test_the_plain_path(task):
    seen = []
    for stage in (states.BUILDING, states.TRAINING, states.EMBEDDING):
        held = claim(task)
        seen.append((held.kind, state(task)))
        with commits.committing(held) as commit:
            commit.metrics = {"stage": stage}
    assert seen == [(s, s) for s in (states.BUILDING, states.TRAINING, states.EMBEDDING)]
    assert state(task) == states.COMPLETED
    assert [run.metrics["stage"] for run in task.runs.all()] == [stage for stage, _ in seen]


def test_a_second_delivery_is_dropped(task):
    run = queued(task)
    assert claims.claim(run.pk, worker="one") is not None
    assert claims.claim(run.pk, worker="two") is None


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_gets_the_run(task):
    run = queued(task)
    won, barrier = [], threading.Barrier(6)

    def compete():
        barrier.wait()
        won.append(claims.claim(run.pk, worker=threading.current_thread().name))
        connection.close()

    threads = [threading.Thread(target=compete) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(held is not None for held in won) == 1


def test_a_lost_worker_is_overtaken_and_its_commit_refused(task):
    zombie = claim(task)
    expire(zombie)
    assert reaper.reap()["lost"] == 1
    second = claim(task)
    assert (second.attempt, second.kind) == (2, zombie.kind)
    assert second.epoch > zombie.epoch
    with pytest.raises(claims.Fenced):
        claims.beat(zombie)
    stored = Stored("k", 1, "0" * 64)
    with pytest.raises(claims.Fenced):
        commits.save_checkpoint(zombie, stored)
    with pytest.raises(claims.Fenced), commits.committing(zombie) as commit:
        commit.artifact(stored, "never")
    with commits.committing(second):
        pass
    assert state(task) == states.TRAINING


def test_a_beat_after_the_lease_ended_is_refused_even_before_the_reaper(task):
    held = claim(task)
    expire(held)
    with pytest.raises(claims.Fenced):
        claims.beat(held)


def test_the_next_attempt_goes_on_from_the_checkpoint(task):
    held = claim(task)
    commits.save_checkpoint(held, Stored("tasks/one", 1, "a" * 64))
    commits.save_checkpoint(held, Stored("tasks/two", 1, "b" * 64))
    endings.retry_later(held, reason="the worker was asked to stop.")
    following = queued(task)
    assert following.checkpoint.key == "tasks/two"
    assert TaskEvent.objects.filter(task=task, kind="retry").count() == 1


def test_lost_too_often_fails_with_a_sentence(task, settings):
    settings.RUN_ATTEMPTS = 3
    for _ in range(3):
        Run.objects.update(available_at=Now() - timedelta(minutes=1))
        expire(claim(task))
        reaper.reap()
    assert state(task) == states.FAILED
    assert "lost 3 times" in Task.objects.get(pk=task.pk).error


def test_an_error_of_the_data_fails_at_once(task):
    endings.fail(claim(task), sentence="The dataset has no users.", traceback="Trace")
    failed = Task.objects.get(pk=task.pk)
    assert (failed.state, failed.error) == (states.FAILED, "The dataset has no users.")
    assert task.runs.get().traceback == "Trace"


def test_what_fails_inside_a_commit_leaves_nothing(task):
    held = claim(task)

    def fail() -> None:
        with commits.committing(held) as commit:
            commit.artifact(Stored("k", 1, "0" * 64), "x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert task.runs.get().status == RunStatus.RUNNING
    assert state(task) == states.BUILDING


def test_cancel_of_a_waiting_task_is_final_at_once(task):
    cancelled = services.cancel(task=task, account=None)
    assert cancelled.state == states.CANCELLED
    assert cancelled.started_at is None
    assert cancelled.finished_at is not None
    assert claims.claim(task.runs.get().pk, worker="late") is None


def test_cancel_of_a_running_task_wins_over_its_commit(task):
    held = claim(task)
    services.cancel(task=task, account=None)
    assert state(task) == states.BUILDING
    assert claims.beat(held) is StopRequest.CANCEL
    with pytest.raises(claims.CancelRequested), commits.committing(held):
        pass
    endings.release(held, reason="Stopped on request.")
    assert state(task) == states.CANCELLED


def test_a_cancel_nobody_hears_is_forced(task):
    held = claim(task)
    services.cancel(task=task, account=None)
    Task.objects.update(cancel_requested_at=Now() - timedelta(minutes=2))
    assert reaper.reap()["forced"] == 1
    assert state(task) == states.CANCELLED
    with pytest.raises(claims.Fenced), commits.committing(held):
        pass


def test_one_task_a_workspace_runs_and_the_next_follows(workspace, task):
    second = Task.objects.create(
        workspace=workspace, workflow=Workflow.REFRESH, parameters=defaults()
    )
    services.queue_first(second)
    held = claim(task)
    assert claims.claim(queued(second).pk, worker="eager") is None
    assert state(second) == states.PENDING
    Outbox.objects.all().delete()
    endings.fail(held, sentence="no")
    assert Outbox.objects.get().run_id == queued(second).pk
    assert claim(second).kind == states.BUILDING


def test_the_higher_priority_goes_first(workspace, task):
    urgent = Task.objects.create(
        workspace=workspace, workflow=Workflow.REFRESH, parameters=defaults(), priority=5
    )
    services.queue_first(urgent)
    assert claims.claim(queued(task).pk, worker="w") is None
    assert claim(urgent).kind == states.BUILDING


def test_the_reaper_reminds_of_a_run_whose_message_was_lost(task):
    Outbox.objects.all().delete()
    assert reaper.reap()["reminded"] == 0
    Run.objects.update(available_at=Now() - timedelta(minutes=1))
    assert reaper.reap()["reminded"] == 1
    assert Outbox.objects.get().run_id == queued(task).pk
    assert reaper.reap()["reminded"] == 0


def test_the_outbox_keeps_what_the_broker_does_not_take(task, monkeypatch):
    from controlcenter.celery import app

    def away(*args, **kwargs):
        raise ConnectionError("the broker is away")

    monkeypatch.setattr(app, "send_task", away)
    assert relay() == 0
    row = Outbox.objects.get()
    assert (row.sent_at, row.tries, row.error) == (None, 1, "the broker is away")
    sent = []
    monkeypatch.setattr(app, "send_task", lambda job, **kw: sent.append((job, kw["queue"])))
    assert relay() == 0, "not before its backoff"
    Outbox.objects.update(available_at=Now() - timedelta(seconds=1))
    assert relay() == 1
    assert sent == [("workers.building", "refresh")]
    assert relay() == 0


def test_a_kind_without_a_task_tells_its_room_when_it_is_given_up(workspace):
    heard = []

    class Room(Owner):
        def ended(self, row, run, ending):
            heard.append((row, run.subject, ending.outcome, ending.sentence))

    kinds.register(kinds.Kind("test-kind", "ingest", Room()))
    run = commits.queue_run(workspace=workspace, kind="test-kind", subject="x")
    held = claims.claim(run.pk, worker="w")
    endings.fail(held, sentence="it can't be done")
    assert heard == [(None, "x", RunOutcome.FAILED, "it can't be done")]


def test_a_task_for_a_gpu_goes_to_the_gpu_workers(workspace):
    task = Task.objects.create(
        workspace=workspace,
        workflow=Workflow.REFRESH,
        parameters=defaults() | {"device": "gpu"},
    )
    assert services.queue_first(task).queue == "refresh-gpu"


def test_a_fusion_starts_from_the_version_that_is_active_when_it_begins(workspace, model_version):
    """A task before it in the queue may have made a newer one since it was asked for."""
    model_version()
    fusion = Task.objects.create(
        workspace=workspace, workflow=Workflow.FUSION, parameters=defaults()
    )
    services.queue_first(fusion)
    newer = model_version()
    claim(fusion)
    assert Task.objects.get(pk=fusion.pk).base_version == newer


def test_a_named_base_stays(workspace, model_version):
    named = model_version()
    fusion = Task.objects.create(
        workspace=workspace, workflow=Workflow.FUSION, parameters=defaults(), base_version=named
    )
    services.queue_first(fusion)
    model_version()
    claim(fusion)
    assert Task.objects.get(pk=fusion.pk).base_version == named


class Gone(Owner):
    """Whom the runs are for is not there any more."""

    def lock(self, owner_id, *, skip_locked=False):
        return None


def test_a_run_whose_owner_is_gone_harms_nobody(workspace):
    kinds.register(kinds.Kind("orphan-kind", "ingest", Gone()))
    waits = commits.queue_run(workspace=workspace, kind="orphan-kind", owner_id=uuid.uuid4())
    assert claims.claim(waits.pk, worker="w") is None
    runs = Run.objects.filter(pk=waits.pk)
    runs.update(status=RunStatus.RUNNING, epoch=1, lease_expires_at=Now() - timedelta(seconds=1))
    held = claims.Claim(waits.pk, 1, "orphan-kind", "", 1, 0, workspace.pk, waits.owner_id, {}, "")
    with pytest.raises(claims.Fenced, match="gone"), commits.committing(held):
        pass
    assert reaper.reap()["lost"] == 0
    assert runs.get().status == RunStatus.RUNNING
