"""What a schedule says of its task, and what the action makes of it."""

import uuid
from datetime import timedelta

import pytest
from controlcenter_fixtures import make_dataset, make_schedule, task_to_make

from controlcenter.modelling.task_schedules.action import TASKS, spec_of
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.common import clock
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.schedules import services
from controlcenter.platform.schedules.firing import fire_due
from controlcenter.platform.schedules.models import Fire, Schedule

pytestmark = pytest.mark.django_db


def test_a_spec_comes_back_as_the_task_that_was_described(workspace, ready_dataset, model_version):
    version = model_version()
    given = task_to_make(ready_dataset, base_version=version, priority=-4)
    spec = spec_of(make_schedule(workspace, ready_dataset, **given))
    assert (spec.dataset, spec.base_version) == (ready_dataset, version)
    assert (spec.workflow, spec.name, spec.priority) == ("refresh", "every night", -4)
    assert spec.parameters == given["spec"]["parameters"]
    assert spec.start


@pytest.mark.parametrize(("name", "words"), [("dataset", "dataset"), ("base_version", "version")])
def test_a_row_that_is_not_there_is_said_when_it_is_due_and_when_it_is_written(
    workspace, operator, ready_dataset, name, words
):
    gone = str(uuid.uuid4())
    past = clock.now() - timedelta(minutes=1)
    schedule = make_schedule(
        workspace, ready_dataset, cron="* * * * *", decided_until=past, next_at=past
    )
    Schedule.objects.update(spec={**schedule.spec, name: gone})
    assert fire_due(past + timedelta(minutes=1)) == {"refused": 1}
    reason = Fire.objects.get().reason
    assert words in reason
    assert f"{gone} is not there any more." in reason
    with pytest.raises(Conflict, match=gone):
        services.update(schedule=schedule, account=operator, fields={"cron": "1 * * * *"})
    assert Task.objects.count() == 0


def test_only_what_is_not_over_counts_and_the_last_of_it(workspace, ready_dataset):
    schedule = make_schedule(workspace, ready_dataset)
    ids = schedule.fires.order_by().values_list("result_id", flat=True)
    assert TASKS.unfinished(ids) is None
    for number, state in enumerate(("pending", "suspended", "failed")):
        task = Task.objects.create(
            workspace=workspace, workflow="refresh", mode="full_retrain", state=state
        )
        Fire.objects.create(
            schedule=schedule, fire_time=clock.now() + timedelta(minutes=number),
            outcome="created", result_id=task.pk,
        )  # fmt: skip
    other = Task.objects.create(workspace=workspace, workflow="refresh", mode="full_retrain")
    last = TASKS.unfinished(ids)
    assert (last.state, last.id == other.pk) == ("suspended", False)
    assert sorted(TASKS.states(list(ids)).values()) == ["failed", "pending", "suspended"]
    Task.objects.exclude(pk=other.pk).update(state="completed")
    assert TASKS.unfinished(ids) is None


def test_schedules_are_filtered_by_their_dataset(as_operator, workspace, ready_dataset):
    mine = make_schedule(workspace, ready_dataset)
    make_schedule(workspace, make_dataset(workspace, name="another"), name="another")
    answer = as_operator.get("/api/v1/schedules/", {"dataset": str(ready_dataset.pk)}).json()
    assert [row["id"] for row in answer["results"]] == [str(mine.pk)]
    assert as_operator.get("/api/v1/schedules/", {"dataset": "no id"}).status_code == 400
