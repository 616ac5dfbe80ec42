"""Suspend, resume, hand back and retry, case by case."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from controlcenter.modelling.tasks import services, stages, states
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.queueing import waiting
from controlcenter.modelling.tasks.spec.parameters import defaults
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.store import Stored
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.runs import claims, commits, endings, reaper
from controlcenter.platform.runs.models import Outbox, Run, RunStatus
from controlcenter.platform.runs.owners import StopRequest

pytestmark = pytest.mark.django_db


@pytest.fixture
def task(workspace):
    task = Task.objects.create(
        workspace=workspace, workflow=Workflow.REFRESH, parameters=defaults()
    )
    services.queue_first(task)
    return task


def another(workspace, **fields):
    task = Task.objects.create(
        workspace=workspace, workflow=Workflow.REFRESH, parameters=defaults(), **fields
    )
    services.queue_first(task)
    return task


def queued(task):
    return task.runs.get(status=RunStatus.QUEUED)


def claim(task):
    held = claims.claim(queued(task).pk, worker="worker")
    assert held is not None
    return held


def now(task):
    return Task.objects.get(pk=task.pk)


def suspend(task):
    return services.suspend(task=now(task), account=None)


def resume(task):
    return services.resume(task=now(task), account=None)


def finish(held, **metrics):
    with commits.committing(held) as commit:
        commit.metrics = metrics


def test_a_running_task_is_suspended_once_its_worker_gave_the_run_back(task):
    held = claim(task)
    assert suspend(task).state == states.BUILDING
    assert claims.beat(held) == StopRequest.SUSPEND
    endings.release(held, reason="Stopped on request.")
    task = now(task)
    assert (task.state, task.left_state, task.suspend_requested_at) == (
        states.SUSPENDED,
        states.BUILDING,
        None,
    )
    assert task.runs.get().status == RunStatus.RELEASED
    with pytest.raises(claims.Fenced):
        finish(held)
    assert waiting(task).reason == "suspended: POST to resume/"


def test_a_queued_stage_is_suspended_at_once(task):
    finish(claim(task))
    assert suspend(task).state == states.SUSPENDED
    assert task.runs.last().status == RunStatus.RELEASED
    assert claims.claim(task.runs.last().pk, worker="late") is None


def test_resumed_it_goes_on_from_its_checkpoint_with_its_attempts_counted_anew(task):
    finish(claim(task))
    for times in range(1, 8):  # more often than a run may be lost
        held = claim(task)
        assert (held.kind, held.attempt) == (states.TRAINING, times)
        stored = Stored(key=f"checkpoint {times}", size=1, sha256="0" * 64)
        commits.save_checkpoint(held, stored)
        suspend(task)
        endings.release(held, reason="Stopped on request.")
        resume(task)
        following = queued(task)
        assert following.checkpoint.key == f"checkpoint {times}"
        assert following.losses == 0
        assert Outbox.objects.filter(run_id=following.pk).exists()
    assert now(task).state == states.SUSPENDED, "it moves when a worker takes it"
    finish(claim(task))
    assert now(task).state == states.EMBEDDING


def test_a_stage_that_was_done_first_is_kept_and_the_next_one_waits(task):
    held = claim(task)
    suspend(task)
    finish(held)
    task = now(task)
    assert (task.state, task.left_state) == (states.SUSPENDED, states.TRAINING)
    resume(task)
    assert claim(task).kind == states.TRAINING


def test_the_last_stage_completes_in_spite_of_a_suspend(task):
    finish(claim(task))
    finish(claim(task))
    held = claim(task)
    suspend(task)
    finish(held)
    assert now(task).state == states.COMPLETED


def test_others_go_while_a_task_is_suspended_and_it_waits_for_them(task):
    other = another(task.workspace)
    held = claim(task)
    suspend(task)
    endings.release(held, reason="Stopped on request.")
    assert Outbox.objects.filter(run_id=queued(other).pk).count() == 2, "the next one is woken"
    claim(other)
    resume(task)
    assert claims.claim(queued(task).pk, worker="worker") is None
    told = waiting(now(task))
    assert (told.place, told.behind) == (1, [other.pk])
    assert suspend(task).state == states.SUSPENDED
    assert not task.runs.filter(status=RunStatus.QUEUED).exists(), "taken back from the queue"


def test_cancel_wins_over_suspend(task):
    held = claim(task)
    suspend(task)
    services.cancel(task=now(task), account=None)
    with pytest.raises(Conflict, match="being cancelled"):
        suspend(task)
    endings.release(held, reason="Stopped on request.")
    assert now(task).state == states.CANCELLED


@pytest.mark.parametrize("resumed", [False, True])
def test_a_suspended_task_is_cancelled_at_once(task, resumed):
    held = claim(task)
    suspend(task)
    endings.release(held, reason="Stopped on request.")
    if resumed:
        resume(task)
    assert services.cancel(task=now(task), account=None).state == states.CANCELLED
    assert not task.runs.filter(status=RunStatus.QUEUED).exists()


def test_what_was_not_begun_or_is_over_is_not_suspended(task):
    with pytest.raises(Conflict, match=r"pending: there is nothing to suspend\. Cancel it"):
        suspend(task)
    with pytest.raises(Conflict, match="only a suspended one"):
        resume(task)
    services.cancel(task=now(task), account=None)
    with pytest.raises(Conflict, match="nothing to suspend"):
        suspend(task)


def test_asking_twice_is_asking_once(task):
    held = claim(task)
    suspend(task)
    first = now(task).suspend_requested_at
    suspend(task)
    assert now(task).suspend_requested_at == first
    endings.release(held, reason="Stopped on request.")
    assert suspend(task).state == states.SUSPENDED
    resume(task)
    resume(task)
    assert task.runs.filter(status=RunStatus.QUEUED).count() == 1
    actions = list(
        AuditEntry.objects.filter(action__startswith="task.")
        .order_by("pk")
        .values_list("action", flat=True)
    )
    assert actions == ["task.suspend", "task.resume"]


def test_a_worker_that_does_not_answer_is_fenced_off_after_a_minute(task):
    held = claim(task)
    suspend(task)
    Task.objects.filter(pk=task.pk).update(suspend_requested_at=Now() - timedelta(seconds=61))
    assert reaper.reap()["forced"] == 1
    assert now(task).state == states.SUSPENDED
    with pytest.raises(claims.Fenced):
        claims.beat(held)


def test_a_worker_that_is_lost_meanwhile_suspends_as_well(task):
    held = claim(task)
    suspend(task)
    Run.objects.filter(pk=held.run_id).update(lease_expires_at=Now() - timedelta(seconds=1))
    reaper.reap()
    assert now(task).state == states.SUSPENDED
    assert task.runs.get().status == RunStatus.RELEASED


def test_a_run_that_is_handed_back_goes_on_at_once_and_counts_as_no_loss(task, settings):
    settings.RUN_ATTEMPTS = 2
    for attempt in range(1, 5):
        held = claim(task)
        endings.release(held, reason="the worker was asked to stop.")
        following = queued(task)
        assert (following.attempt, following.losses) == (attempt + 1, 0)
    statuses = set(task.runs.exclude(pk=following.pk).values_list("status", flat=True))
    assert statuses == {RunStatus.RELEASED}


@pytest.mark.parametrize("asked", ["cancel", "suspend"])
def test_a_worker_that_stops_acknowledges_what_was_asked(task, asked):
    held = claim(task)
    getattr(services, asked)(task=now(task), account=None)
    endings.release(held, reason="the worker was asked to stop.")
    expected = {"cancel": states.CANCELLED, "suspend": states.SUSPENDED}
    assert now(task).state == expected[asked]


def failed_at_training(task, workspace):
    held = claim(task)
    stored = Stored(key="graph", size=1, sha256="0" * 64)
    with commits.committing(held) as commit:
        commit.artifact(stored, "graph/nodes.parquet")
        commit.metrics = {"nodes": 3}
    Task.objects.filter(pk=task.pk).update(metrics={"graph": {"nodes": 3}})
    endings.fail(claim(task), sentence="It did not work.")
    assert now(task).state == states.FAILED


def test_a_retry_takes_over_the_finished_stages(task, workspace, ready_dataset):
    Task.objects.filter(pk=task.pk).update(dataset=ready_dataset)
    failed_at_training(task, workspace)
    again = services.retry(task=now(task), account=None)
    assert (again.retry_of, again.parameters) == (task, task.parameters)
    held = claim(again)
    assert (held.kind, held.reuses) == (states.BUILDING, task.runs.get(kind="building").pk)
    commits.reuse(held)
    done = again.runs.get(kind=states.BUILDING)
    assert done.metrics["reused"]["artifacts"] == ["graph/nodes.parquet"]
    assert done.metrics["nodes"] == 3
    assert now(again).metrics == {"graph": {"nodes": 3}}
    assert [file.key for file in stages.outputs(now(again), states.BUILDING)] == ["graph"]
    held = claim(again)
    assert (held.kind, held.reuses) == (states.TRAINING, None)
    endings.fail(held, sentence="Again it did not work.")
    third = services.retry(task=now(again), account=None)
    assert claim(third).reuses == task.runs.get(kind="building").pk, "through both"
    assert Artifact.objects.filter(key="graph").count() == 1


def test_only_what_ended_badly_is_retried_and_once_at_a_time(task, workspace, ready_dataset):
    Task.objects.filter(pk=task.pk).update(dataset=ready_dataset)
    with pytest.raises(Conflict, match="only one that failed"):
        services.retry(task=now(task), account=None)
    failed_at_training(task, workspace)
    again = services.retry(task=now(task), account=None)
    with pytest.raises(Conflict, match=f"already, as task {again.pk}"):
        services.retry(task=now(task), account=None)


def test_priority_is_worth_waiting_and_nobody_waits_for_ever(workspace, settings):
    settings.PRIORITY_MINUTES = 10
    running = another(workspace)
    claim(running)
    old = another(workspace, priority=0)
    Task.objects.filter(pk=old.pk).update(created_at=Now() - timedelta(minutes=25))
    urgent = another(workspace, priority=2)
    more = another(workspace, priority=3)
    places = {task.pk: waiting(now(task)).place for task in (old, urgent, more)}
    assert places == {more.pk: 1, old.pk: 2, urgent.pk: 3}


def test_a_pool_has_no_more_than_its_limit_and_goes_by_turn(db, settings):
    settings.POOL_LIMITS = {"refresh": 2}
    tasks = [another(Workspace.objects.create(slug=f"w{n}", name="w")) for n in range(4)]
    first, second = claim(tasks[0]), claim(tasks[1])
    assert claims.claim(queued(tasks[2]).pk, worker="worker") is None
    assert waiting(now(tasks[2])).reason == "queued: the pool refresh is full (2 at once)"
    Outbox.objects.all().delete()
    endings.fail(first, sentence="It did not work.")
    assert Outbox.objects.filter(run_id=queued(tasks[2]).pk).exists(), "the next one is woken"
    assert claims.claim(queued(tasks[3]).pk, worker="worker") is None, "it is not its turn"
    assert claim(tasks[2])
    Run.objects.filter(pk=second.run_id).update(lease_expires_at=Now() - timedelta(seconds=1))
    assert claims.claim(queued(tasks[3]).pk, worker="worker") is not None, "a lease that ended"
