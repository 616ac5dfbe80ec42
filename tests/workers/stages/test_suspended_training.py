"""A task that is suspended again and again ends as one that was not, to the last bit."""

import threading

import pytest
from rest_framework.test import APIClient
from waiting import wait_until

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.tasks import services, states
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.accounts.models import Account
from controlcenter.platform.accounts.services import create_workspace
from controlcenter.platform.runs.models import Run, RunStatus
from workers.app import STAGES
from workers.runtime import shutdown
from workers.runtime.execution import Execution
from workers.runtime.runner import execute

pytestmark = pytest.mark.django_db(transaction=True)
SYNTHESIS = {"users": 80, "events": 2500, "products": 10, "apps": 6, "seed": 3}
PARAMETERS = {"epochs": 3, "fusion_epochs": 5}


@pytest.fixture
def client(db, monkeypatch):
    monkeypatch.setattr("workers.runtime.heartbeat.BEAT_SECONDS", 0.02)
    account = Account.objects.create_user("anna")
    create_workspace(slug="alpha", name="Alpha", owner=account)
    found = APIClient()
    found.force_authenticate(account)
    assert found.post("/api/v1/datasets/synthesize/", SYNTHESIS, format="json").status_code == 202
    do_queued()
    return found


def do_queued():
    outcomes = []
    while (run := Run.objects.filter(status=RunStatus.QUEUED).first()) is not None:
        module = __import__(STAGES[run.kind], fromlist=["work"])
        outcomes.append(execute(str(run.pk), module.work))
    return outcomes


def refresh(client):
    body = {"dataset": str(Dataset.objects.get().pk), "parameters": PARAMETERS}
    return Task.objects.get(pk=client.post("/api/v1/tasks/", body, format="json").data["id"])


def measured(task):
    """Everything that the task measured."""
    task = Task.objects.get(pk=task.pk)
    assert task.state == states.COMPLETED, task.error
    return task.metrics


def interrupting(monkeypatch, ask, every):
    """Training asks whether to stop at each step: after every so many somebody says so."""
    original, asked = Execution.should_stop, []

    def should_stop(execution):
        # The heartbeat asks, too: it may not wait for what it itself brings back.
        at_a_step = threading.get_ident() == execution._interrupts._worker
        held_off = not execution._interrupts._allowed
        if at_a_step and execution.claim.kind == states.TRAINING and held_off:
            asked.append(execution.claim.attempt)
            if asked.count(execution.claim.attempt) > every:
                ask(execution)
        return original(execution)

    monkeypatch.setattr(Execution, "should_stop", should_stop)


@pytest.mark.parametrize("how", ["suspended", "handed back"])
def test_it_ends_as_one_that_was_not_interrupted(client, monkeypatch, how):
    whole = refresh(client)
    assert set(do_queued()) == {"done"}

    def suspend(execution):
        services.suspend(task=Task.objects.get(pk=execution.claim.owner_id), account=None)
        wait_until(execution._heartbeat.should_stop)

    def stop(execution):
        shutdown.request()

    again, ends = refresh(client), []
    with monkeypatch.context() as patch:
        interrupting(patch, suspend if how == "suspended" else stop, every=4)
        while Task.objects.get(pk=again.pk).state not in states.FINAL:
            ends += do_once()
            shutdown._word[0] = 0
            task = Task.objects.get(pk=again.pk)
            if task.state == states.SUSPENDED:
                services.resume(task=task, account=None)
    assert ends.count(how) >= 2, ends
    assert again.runs.filter(kind=states.TRAINING, status=RunStatus.RELEASED).count() >= 2
    assert not again.runs.filter(losses__gt=0).exists()
    assert measured(again) == measured(whole)


def do_once():
    run = Run.objects.filter(status=RunStatus.QUEUED).first()
    module = __import__(STAGES[run.kind], fromlist=["work"])
    return [execute(str(run.pk), module.work)]
