"""Who listens hears of each transition, in its transaction."""

import pytest
from controlcenter_fixtures import make_task
from django.db import transaction

from controlcenter.modelling.tasks import models, services, states
from controlcenter.modelling.tasks.machine import StaleMove, move, version_of
from controlcenter.modelling.tasks.models import Transition
from controlcenter.modelling.tasks.spec import parameters
from controlcenter.platform.common.hooks import Hook

pytestmark = pytest.mark.django_db


@pytest.fixture
def heard(monkeypatch):
    """What a listener was told: task, from, to, and whether a transaction was open."""
    told = []
    hook = Hook()
    for module in (models, services):
        monkeypatch.setattr(module, "transition_taken", hook)

    def listen(task, taken):
        inside = transaction.get_connection().in_atomic_block
        told.append((task.pk, task.state, taken.source, taken.target, inside))

    models.transition_taken.register(listen)
    models.transition_taken.register(listen)
    return told


def test_an_edge_is_told_once(workspace, ready_dataset, heard):
    task = make_task(workspace, ready_dataset)
    with transaction.atomic():
        move(task, states.BUILDING, expected=version_of(task), actor="test", reason="")
    assert heard == [(task.pk, states.BUILDING, states.PENDING, states.BUILDING, True)]


def test_creation_is_told_from_pending_to_pending(workspace, owner, ready_dataset, heard):
    spec = services.TaskSpec("refresh", parameters.defaults(), dataset=ready_dataset)
    task, _ = services.create(workspace=workspace, account=owner, spec=spec, key="k")
    services.create(workspace=workspace, account=owner, spec=spec, key="k")
    assert heard == [(task.pk, states.PENDING, states.PENDING, states.PENDING, True)]


def test_an_edge_that_is_refused_is_not_told(workspace, ready_dataset, heard):
    task = make_task(workspace, ready_dataset)
    before = version_of(task)
    with transaction.atomic():
        move(task, states.BUILDING, expected=before, actor="test", reason="")
    heard.clear()
    with pytest.raises(StaleMove), transaction.atomic():
        move(task, states.BUILDING, expected=before, actor="test", reason="")
    assert heard == []


def test_a_listener_that_fails_undoes_the_transition(workspace, ready_dataset, heard):
    def fail(task, taken):
        raise RuntimeError("no")

    models.transition_taken.register(fail)
    task = make_task(workspace, ready_dataset)
    with pytest.raises(RuntimeError), transaction.atomic():
        move(task, states.BUILDING, expected=version_of(task), actor="test", reason="")
    assert not Transition.objects.filter(task=task).exists()
    assert type(task).objects.get(pk=task.pk).state == states.PENDING
