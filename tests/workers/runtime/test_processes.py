"""What a process held when it died is released by the one that takes its place."""

import os
import subprocess
import sys
from functools import partial

import pytest
from django.db import OperationalError

from controlcenter.embedded.locate import REPOSITORY
from controlcenter.modelling.tasks import services
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.spec.parameters import defaults
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.runs import claims, reaper
from controlcenter.platform.runs.models import Run, RunStatus
from workers.runtime import processes

pytestmark = pytest.mark.django_db


@pytest.fixture
def run():
    workspace = Workspace.objects.create(slug="processes", name="processes")
    task = Task.objects.create(
        workspace=workspace, workflow=Workflow.REFRESH, parameters=defaults()
    )
    services.queue_first(task)
    return task.runs.get()


@pytest.fixture
def dead():
    """The id of a process that was here."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    assert process.wait() == 0
    return process.pid


def held_by(pid, run, machine=None):
    machine = processes.machine() if machine is None else machine
    return claims.claim(run.pk, worker=f"here:{pid}", machine=machine, pid=pid)


def status(run):
    return Run.objects.get(pk=run.pk).status


def test_a_run_of_a_dead_process_is_tried_again_at_once(run, dead):
    assert held_by(dead, run) is not None
    processes.release_dead()
    lost = Run.objects.get(pk=run.pk)
    assert (lost.status, lost.error) == (RunStatus.LOST, f"the process here:{dead} died.")
    again = run.task.runs.get(status=RunStatus.QUEUED)
    assert (again.attempt, again.losses) == (2, 1)
    assert held_by(os.getpid(), again) is not None, "it need not wait"


@pytest.mark.parametrize("whose", ["mine", "the first"])
def test_a_run_of_a_process_that_is_there_is_left_alone(run, whose):
    pid = os.getpid() if whose == "mine" else 1
    assert held_by(pid, run) is not None
    processes.release_dead()
    assert status(run) == RunStatus.RUNNING


@pytest.mark.parametrize("machine", ["another", ""])
def test_what_is_held_elsewhere_waits_for_its_lease(run, dead, machine):
    held_by(dead, run, machine)
    processes.release_dead()
    assert status(run) == RunStatus.RUNNING


def test_where_processes_are_not_known_nobody_looks(run, dead, monkeypatch):
    held_by(dead, run, "")
    monkeypatch.setattr(processes, "machine", lambda: "")
    processes.release_dead()
    assert status(run) == RunStatus.RUNNING


def test_a_process_starts_also_where_the_database_is_away(monkeypatch):
    looks = []

    def away(*_):
        looks.append(True)
        raise OperationalError("the connection is refused")

    monkeypatch.setattr(reaper, "release_dead", away)
    processes.release_dead()
    assert looks


def test_a_machine_is_named_the_same_by_all_its_processes():
    code = "import workers.app; from workers.runtime import processes; print(processes.machine())"
    argv = [sys.executable, "-c", code]
    told = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert told.stdout.strip() == processes.machine() != ""


def test_two_that_look_at_once_release_a_run_once(run, dead):
    """The second one sees the run as the first one left it."""
    held_by(dead, run)
    first = []

    def gone(pid, *, inner):
        if not first:
            first.append(inner())
        return False

    look = partial(reaper.release_dead, processes.machine(), lambda _: False)
    assert reaper.release_dead(processes.machine(), partial(gone, inner=look)) == 0
    assert first == [1]
    assert run.task.runs.count() == 2
