"""A worker whose code is older than a run leaves it to newer ones."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from controlcenter.modelling.tasks import services
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.spec.parameters import defaults
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.runs import claims, commits, protocol, reaper
from controlcenter.platform.runs.models import Outbox, Run, RunStatus

pytestmark = pytest.mark.django_db


@pytest.fixture
def newer(monkeypatch):
    """Changes the code's number for a while."""

    def speak(number):
        monkeypatch.setattr(protocol, "PROTOCOL", number)

    return speak


@pytest.fixture
def task():
    workspace = Workspace.objects.create(slug="alpha", name="Alpha")
    return Task.objects.create(
        workspace=workspace, workflow=Workflow.REFRESH, parameters=defaults()
    )


def test_an_older_worker_leaves_the_run_and_sends_one_hint(task, newer):
    mine = protocol.PROTOCOL
    newer(mine + 1)
    run = services.queue_first(task)
    assert run.protocol == mine + 1
    Outbox.objects.update(sent_at=Now())
    newer(mine)
    for _ in range(3):
        assert claims.claim(run.pk, worker="old") is None
    hint = Outbox.objects.get(run_id=run.pk, sent_at=None)
    assert hint.available_at > Run.objects.values_list("created_at", flat=True).get(pk=run.pk)
    assert Run.objects.get(pk=run.pk).status == RunStatus.QUEUED
    newer(mine + 1)
    assert claims.claim(run.pk, worker="new") is not None


def test_a_newer_worker_does_older_runs_and_queues_newer_ones(task, newer):
    mine = protocol.PROTOCOL
    run = services.queue_first(task)
    newer(mine + 1)
    held = claims.claim(run.pk, worker="new")
    with commits.committing(held):
        pass
    assert Run.objects.get(owner_id=task.pk, status=RunStatus.QUEUED).protocol == mine + 1


def test_an_older_reaper_queues_a_newer_run_as_newer(task, newer):
    mine = protocol.PROTOCOL
    newer(mine + 1)
    run = services.queue_first(task)
    claims.claim(run.pk, worker="new")
    newer(mine)
    Run.objects.update(lease_expires_at=Now() - timedelta(seconds=1))
    assert reaper.reap()["lost"] == 1
    again = Run.objects.get(owner_id=task.pk, status=RunStatus.QUEUED)
    assert (again.attempt, again.protocol) == (2, mine + 1)
