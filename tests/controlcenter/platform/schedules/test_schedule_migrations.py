"""Schedules that were written when tasks were all that a fire could make keep what they make."""

from datetime import timedelta

import pytest
from controlcenter_fixtures import make_dataset, make_schedule, make_task, task_to_make
from upgrading import migrate, newest

from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.spec import parameters
from controlcenter.platform.common import clock
from controlcenter.platform.schedules.firing import fire_due
from controlcenter.platform.schedules.models import Fire, Schedule

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE = [("schedules", "0001_schema")]


@pytest.fixture
def leaves():
    """All migrations, whatever happens in between."""
    nodes = newest()
    yield nodes
    migrate(nodes)


def test_schedules_of_before_fire_as_they_did(workspace, model_version, leaves):
    version = model_version()
    dataset = make_dataset(workspace, name="another")
    task = make_task(workspace, dataset, state="completed")
    fusion = {"workflow": "fusion", "dataset": None, "base_version": str(version.pk)}
    fusion = task_to_make(dataset)["spec"] | fusion
    one = make_schedule(workspace, dataset, **task_to_make(dataset, priority=7))
    two = make_schedule(workspace, dataset, name="fusion", spec=fusion)
    made = {"fire_time": clock.now(), "outcome": "created"}
    fire = Fire.objects.create(schedule=one, result_id=task.pk, **made)

    old = migrate(BEFORE).get_model("schedules", "Schedule").objects
    first, second = old.get(pk=one.pk), old.get(pk=two.pk)
    assert (first.workflow, first.dataset_id, first.priority) == ("refresh", dataset.pk, 7)
    assert first.parameters == parameters.defaults()
    assert first.fires.get().task_id == task.pk
    assert (second.dataset_id, second.base_version_id) == (None, version.pk)
    old.filter(pk=one.pk).update(priority=9)

    migrate(leaves)
    now = Schedule.objects.get(pk=one.pk)
    assert (now.action, now.spec) == ("task", one.spec | {"priority": 9})
    assert Schedule.objects.get(pk=two.pk).spec == fusion
    assert Fire.objects.get(pk=fire.pk).result_id == task.pk
    Schedule.objects.filter(pk=one.pk).update(cron="* * * * *", next_at=clock.now())
    assert fire_due(clock.now() + timedelta(minutes=2)) == {"created": 1}
    newest = Task.objects.get(name=one.name)
    assert (newest.dataset_id, newest.priority, newest.parameters) == (
        dataset.pk, 9, parameters.defaults(),
    )  # fmt: skip
