"""Every way a run may end on a worker."""

import threading
import time
from datetime import timedelta
from functools import partial

import pytest
from django.db import OperationalError, connection
from django.db.models.functions import Now

from controlcenter.modelling.tasks import services, states
from controlcenter.modelling.tasks.models import Task, TaskEvent
from controlcenter.modelling.tasks.spec.parameters import defaults
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.store import ObjectMissing, StoreUnavailable, store
from controlcenter.platform.runs import commits, endings
from controlcenter.platform.runs.models import Run, RunStatus
from workers.runtime import shutdown
from workers.runtime.errors import PermanentError
from workers.runtime.runner import execute

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setattr("workers.runtime.heartbeat.BEAT_SECONDS", 0.05)
    workspace = Workspace.objects.create(slug="runtime", name="runtime")
    task = Task.objects.create(
        workspace=workspace, workflow=Workflow.REFRESH, parameters=defaults()
    )
    services.queue_first(task)
    return task


def do(task, work):
    return execute(str(task.runs.get(status=RunStatus.QUEUED).pk), work)


def state(task):
    return Task.objects.get(pk=task.pk).state


def finish(execution):
    execution.commit(lambda commit: commit.metrics.update(done=True))


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_done(task):
    assert do(task, finish) == "done"
    assert task.runs.get(kind=states.BUILDING).metrics == {"done": True}
    assert state(task) == states.TRAINING


def test_progress_is_told_in_order_to_the_last(task):
    def work(execution):
        for epoch in range(5):
            execution.progress(epoch / 5, f"epoch {epoch}", epoch=epoch)
            time.sleep(0.03)
        finish(execution)

    do(task, work)
    told = TaskEvent.objects.filter(task=task, kind="progress").order_by("pk")
    assert [event.data["epoch"] for event in told] == list(range(5))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermanentError("The dataset has no users."), "The dataset has no users."),
        (ObjectMissing("NoSuchKey: x"), "NoSuchKey: x"),
        (ZeroDivisionError("by zero"), "Building failed: ZeroDivisionError: by zero"),
        (ImportError("no module"), "Building failed: ImportError: no module"),
    ],
)
def test_its_own_fault_fails_the_task_with_a_sentence(task, error, sentence):
    def work(execution):
        raise error

    assert do(task, work) == "failed"
    assert (state(task), Task.objects.get(pk=task.pk).error) == (states.FAILED, sentence)


@pytest.mark.parametrize("error", [StoreUnavailable("full"), OperationalError("gone")])
def test_a_part_of_the_system_that_is_away_is_tried_again(task, error):
    def work(execution):
        raise error

    assert do(task, work) == "let go"
    assert state(task) == states.BUILDING
    following = task.runs.get(status=RunStatus.QUEUED)
    assert following.attempt == 2
    assert do(task, finish) == "done"


def test_cancel_stops_the_work_at_its_next_step(task):
    def work(execution):
        services.cancel(task=task, account=None)
        wait_for(execution.should_stop)
        execution.progress(0.5, "never told")

    assert do(task, work) == "cancelled"
    assert state(task) == states.CANCELLED


def never_asking(execution):
    while True:
        sum(range(1_000))


def waiting_for_the_database(execution):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(600)")  # longer than a test may take


@pytest.fixture
def no_sleepers(task):
    """The server does not see that nobody waits; a database in use can't be removed."""
    yield
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = current_database() AND query = 'SELECT pg_sleep(600)'"
        )


@pytest.fixture
def told_to_stop():
    yield shutdown.request
    shutdown._word[0] = 0


@pytest.mark.usefixtures("no_sleepers")
@pytest.mark.parametrize("work", [never_asking, waiting_for_the_database])
@pytest.mark.parametrize("asked", ["cancel", "suspend", "shutdown"])
def test_what_does_not_ask_is_interrupted(task, monkeypatch, told_to_stop, work, asked):
    monkeypatch.setattr("workers.runtime.interrupts.INTERRUPT_SECONDS", 0.2)
    # Psycopg looks for signals each 0.1 s in which none came: with more beats it never does.
    monkeypatch.setattr("workers.runtime.heartbeat.BEAT_SECONDS", 0.5)
    ask = told_to_stop if asked == "shutdown" else partial(getattr(services, asked), account=None)

    def begun(execution):
        ask(**({} if asked == "shutdown" else {"task": Task.objects.get(pk=task.pk)}))
        work(execution)

    outcomes = {"cancel": "cancelled", "suspend": "suspended", "shutdown": "handed back"}
    assert do(task, begun) == outcomes[asked]
    expected = {"cancel": states.CANCELLED, "suspend": states.SUSPENDED}
    assert state(task) == expected.get(asked, states.BUILDING)


def test_what_asks_by_itself_is_left_alone(task, monkeypatch):
    monkeypatch.setattr("workers.runtime.interrupts.INTERRUPT_SECONDS", 0.0)
    steps = []

    def work(execution):
        with execution.uninterrupted():
            services.suspend(task=Task.objects.get(pk=task.pk), account=None)
            wait_for(execution.should_stop)
            time.sleep(0.5)
            steps.append("whole")
        steps.append("never")

    assert do(task, work) == "suspended"
    assert steps == ["whole"]


def test_what_is_done_is_committed_although_somebody_asked_to_suspend(task):
    def work(execution):
        services.suspend(task=Task.objects.get(pk=task.pk), account=None)
        wait_for(execution.should_stop)
        finish(execution)

    assert do(task, work) == "done"
    assert task.runs.get().status == RunStatus.DONE
    task = Task.objects.get(pk=task.pk)
    assert (task.state, task.left_state) == (states.SUSPENDED, states.TRAINING)


def test_handed_back_with_what_it_has(task, told_to_stop):
    def work(execution):
        told_to_stop()
        execution.save_checkpoint(b"half way")
        execution.check()

    assert do(task, work) == "handed back"
    following = task.runs.get(status=RunStatus.QUEUED)
    assert (following.losses, following.checkpoint is not None) == (0, True)


def test_a_retry_takes_over_without_working(task):
    endings_of = Task.objects.filter(pk=task.pk)
    assert do(task, finish) == "done"
    assert do(task, never_fits) == "failed"
    again = Task.objects.create(
        workspace=task.workspace,
        workflow=Workflow.REFRESH,
        parameters=defaults(),
        retry_of=endings_of.get(),
    )
    services.queue_first(again)
    assert do(again, never_fits) == "done"
    assert again.runs.get(kind=states.BUILDING).metrics["done"] is True
    assert state(again) == states.TRAINING


def never_fits(execution):
    raise PermanentError("It does not fit.")


def test_a_worker_that_lost_its_lease_stops_and_changes_nothing(task):
    def work(execution):
        Run.objects.filter(pk=execution.claim.run_id).update(
            lease_expires_at=Now() - timedelta(seconds=1)
        )
        wait_for(execution.should_stop)
        finish(execution)

    assert do(task, work) == "fenced"
    assert task.runs.get().status == RunStatus.RUNNING, "the reaper's to release"


def test_a_commit_whose_answer_was_lost_is_not_done_twice(task, monkeypatch):
    """The connection breaks after COMMIT: the run is read again and found done."""
    calls = []

    def work(execution):
        original = commits.committing

        def breaking(claim):
            calls.append(claim)
            manager = original(claim)

            class Broken:
                def __enter__(self):
                    return manager.__enter__()

                def __exit__(self, *error):
                    manager.__exit__(*error)
                    raise OperationalError("the connection was lost in COMMIT")

            return Broken()

        monkeypatch.setattr(commits, "committing", breaking)
        finish(execution)

    assert do(task, work) == "done"
    assert len(calls) == 1
    assert task.runs.filter(kind=states.BUILDING).count() == 1


def test_a_second_delivery_while_it_runs_is_dropped(task):
    run_id = str(task.runs.get().pk)
    outcomes = []

    def work(execution):
        def second():
            outcomes.append(execute(run_id, finish))
            connection.close()

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        finish(execution)

    assert execute(run_id, work) == "done"
    assert outcomes == ["dropped"]


def test_a_checkpoint_reaches_the_next_attempt(task):
    found = []

    def first(execution):
        execution.save_checkpoint(b"half way")
        endings.retry_later(execution.claim, reason="the worker was asked to stop.")
        execution.check()
        raise StoreUnavailable("stop here")

    def second(execution):
        found.append(execution.load_checkpoint())
        finish(execution)

    assert do(task, first) == "fenced"
    assert do(task, second) == "done"
    assert found == [b"half way"]


def test_what_it_stores_is_recorded_with_size_and_hash(task, tmp_path):
    path = tmp_path / "graph.bin"
    path.write_bytes(b"x" * 1000)

    def work(execution):
        stored, name = execution.put(path, "graph.bin")
        execution.commit(lambda commit: commit.artifact(stored, name))

    do(task, work)
    artifact = Artifact.objects.get(name="graph.bin")
    assert artifact.size == 1000
    store().fetch(artifact.key, tmp_path / "back", sha256=artifact.sha256)
    assert (tmp_path / "back").read_bytes() == path.read_bytes()
