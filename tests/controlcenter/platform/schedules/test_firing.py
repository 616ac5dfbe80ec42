"""What becomes of a fire time: made, made up, skipped, waiting, refused."""

from datetime import UTC, datetime, timedelta

import pytest
from controlcenter_fixtures import make_dataset, task_to_make

from controlcenter.modelling.tasks import services as tasks
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.common import clock
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.runs.models import Chore, Run
from controlcenter.platform.schedules import services
from controlcenter.platform.schedules.firing import GRACE, fire_due
from controlcenter.platform.schedules.models import Fire, Schedule

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)


@pytest.fixture
def schedule(workspace, operator, ready_dataset):
    """Hourly, decided until noon of a day in June."""

    def make(**fields) -> Schedule:
        given = {
            "name": f"hourly {Schedule.objects.count()}",
            "cron": "0 * * * *",
            **task_to_make(ready_dataset, priority=3),
        }
        made = services.create(workspace=workspace, account=operator, fields=given | fields)
        Schedule.objects.filter(pk=made.pk).update(decided_until=NOON, next_at=NOON)
        made.refresh_from_db()
        return made

    return make


def fires(schedule):
    """Fire times as hours after noon, with their outcomes, oldest first."""
    return [
        ((fire.fire_time - NOON) / HOUR, fire.outcome)
        for fire in schedule.fires.order_by("fire_time")
    ]


def made_by(fire):
    return Task.objects.get(pk=fire.result_id)


def finish(fire):
    tasks.cancel(task=made_by(fire), account=None)


def test_a_new_schedule_begins_with_the_first_fire_time_after_now(workspace, operator):
    before = clock.now()
    fields = {"name": "s", "cron": "* * * * *", **task_to_make(make_dataset(workspace))}
    made = services.create(workspace=workspace, account=operator, fields=fields)
    assert before < made.next_at <= clock.now() + MINUTE
    assert fire_due() == {}


def test_a_due_fire_makes_the_task_that_the_schedule_describes(schedule, workspace, ready_dataset):
    one = schedule()
    assert fire_due(NOON + HOUR - SECOND) == {}
    assert fire_due(NOON + HOUR) == {"created": 1}
    assert fire_due(NOON + HOUR) == {}
    fire = one.fires.get()
    task = made_by(fire)
    assert (task.workspace, task.dataset, task.priority) == (workspace, ready_dataset, 3)
    assert (task.name, task.workflow, task.parameters) == (
        one.name,
        "refresh",
        one.spec["parameters"],
    )
    assert task.created_by is None
    assert Run.objects.filter(owner_id=task.pk, kind="building", status="queued").exists()
    one.refresh_from_db()
    assert (one.decided_until, one.next_at) == (NOON + HOUR, NOON + 2 * HOUR)
    entry = AuditEntry.objects.get(action="schedule.fire")
    assert (entry.actor, entry.details["task"]) == ("system", str(task.pk))


def test_the_databases_clock_decides(schedule):
    one = schedule(cron="* * * * *")
    Schedule.objects.update(decided_until=clock.now() - 2 * MINUTE)
    assert fire_due() == {"created": 1}
    assert clock.now() - one.fires.get().fire_time < 2 * MINUTE
    assert Chore.objects.filter(name="schedules").exists()


def test_a_look_late_by_less_than_the_grace_is_no_miss(schedule):
    one = schedule(missed="skip")
    fire_due(NOON + HOUR + GRACE)
    assert fires(one) == [(1, "created")]


@pytest.mark.parametrize(("missed", "outcome"), [("make_up", "made_up"), ("skip", "skipped")])
def test_a_missed_fire_is_made_up_once_or_skipped_and_recorded(schedule, missed, outcome):
    one = schedule(missed=missed)
    for _ in range(2):
        fire_due(NOON + 3 * HOUR + 17 * MINUTE)
    assert fires(one) == [(3, outcome)]
    fire = one.fires.get()
    assert fire.passed_over == 2
    assert "nobody looked for 17 min" in fire.reason
    assert "Stands for 2 earlier since 2026-06-01 12:00" in fire.reason
    assert (fire.result_id is not None) == (missed == "make_up")
    assert Task.objects.count() == (missed == "make_up")


def test_the_latest_on_time_stands_for_those_missed_before(schedule):
    one = schedule(missed="skip")
    fire_due(NOON + 5 * HOUR + SECOND)
    assert fires(one) == [(5, "created")]
    assert one.fires.get().passed_over == 4


def test_it_waits_for_its_last_task_and_at_most_one_waits(schedule):
    one = schedule(overlap="wait")
    for hour in (1, 2, 3):
        fire_due(NOON + hour * HOUR)
    assert fires(one) == [(1, "created"), (2, "waiting"), (3, "skipped")]
    first, second, third = one.fires.order_by("fire_time")
    assert str(first.result_id) in second.reason
    assert "The fire of 2026-06-01 14:00 waits already." in third.reason
    assert fire_due(NOON + 3 * HOUR + MINUTE) == {}
    finish(first)
    assert fire_due(NOON + 3 * HOUR + 2 * MINUTE) == {"created": 1}
    second.refresh_from_db()
    assert (second.outcome, made_by(second).state) == ("created", "pending")
    assert second.reason == "Waited 1 h 2 min for the task before it."
    assert fire_due(NOON + 3 * HOUR + 3 * MINUTE) == {}
    assert Task.objects.count() == 2


def test_when_one_waits_and_the_next_is_due_the_waiting_one_goes_first(schedule):
    one = schedule(overlap="wait")
    fire_due(NOON + HOUR)
    fire_due(NOON + 2 * HOUR)
    finish(one.fires.get(outcome="created"))
    assert fire_due(NOON + 3 * HOUR) == {"created": 1, "waiting": 1}
    assert fires(one) == [(1, "created"), (2, "created"), (3, "waiting")]


@pytest.mark.parametrize(("overlap", "second"), [("queue", "created"), ("skip", "skipped")])
def test_or_it_does_not_wait(schedule, overlap, second):
    one = schedule(overlap=overlap)
    fire_due(NOON + HOUR)
    fire_due(NOON + 2 * HOUR)
    assert fires(one) == [(1, "created"), (2, second)]
    assert Task.objects.count() == (2 if overlap == "queue" else 1)


def test_a_disabled_schedule_is_left_alone_and_goes_on_after_now(schedule, operator):
    one = schedule()
    one = services.update(schedule=one, account=operator, fields={"enabled": False})
    assert one.next_at is None
    assert fire_due(NOON + 5 * HOUR) == {}
    one = services.update(schedule=one, account=operator, fields={"enabled": True})
    assert one.next_at > clock.now() - SECOND
    assert one.fires.count() == 0


def test_disabling_leaves_out_what_waits(schedule, operator):
    one = schedule(overlap="wait")
    fire_due(NOON + HOUR)
    fire_due(NOON + 2 * HOUR)
    services.update(schedule=one, account=operator, fields={"enabled": False})
    assert fires(one) == [(1, "created"), (2, "skipped")]
    assert one.fires.first().reason == "The schedule was disabled while this one waited."


def test_what_was_due_before_a_change_is_decided_before_it(schedule, operator):
    one = schedule(cron="* * * * *")
    past = clock.now() - 2 * MINUTE
    Schedule.objects.update(decided_until=past, next_at=past)
    changed = services.update(schedule=one, account=operator, fields={"cron": "0 0 1 1 *"})
    assert [fire.outcome for fire in one.fires.all()] == ["created"]
    assert (changed.next_at.month, changed.next_at.day) == (1, 1)
    assert changed.decided_until > past + MINUTE


def test_a_task_that_can_not_be_is_recorded_with_the_reason(schedule, ready_dataset):
    one = schedule()
    type(ready_dataset).objects.update(state="deleted")
    assert fire_due(NOON + HOUR) == {"refused": 1}
    assert "is deleted; a task needs one that is ready" in one.fires.get().reason
    assert Task.objects.count() == 0
    type(ready_dataset).objects.update(state="ready")
    assert fire_due(NOON + 2 * HOUR) == {"created": 1}


def test_one_that_fails_does_not_keep_the_others_and_is_tried_again(schedule, monkeypatch):
    broken, fine = schedule(), schedule()
    Schedule.objects.filter(pk=broken.pk).update(timezone="Nowhere/Land")
    assert fire_due(NOON + HOUR) == {"failed": 1, "created": 1}
    assert (broken.fires.count(), fine.fires.count()) == (0, 1)
    Schedule.objects.filter(pk=broken.pk).update(timezone="UTC")
    assert fire_due(NOON + HOUR + MINUTE) == {"created": 1}
    assert fires(broken) == [(1, "created")]


def test_firing_by_hand_makes_a_task_whatever_runs(schedule, operator):
    one = schedule(overlap="skip")
    fire_due(NOON + HOUR)
    services.update(schedule=one, account=operator, fields={"enabled": False})
    fire, new = services.fire_now(schedule=one, account=operator, reason="new data")
    assert new
    assert (fire.outcome, fire.reason, fire.asked_by) == ("created", "new data", "operator")
    assert made_by(fire).created_by == operator
    assert AuditEntry.objects.filter(action="schedule.fire", actor="operator").count() == 1


def test_firing_by_hand_twice_with_one_key_makes_one_task(schedule, operator):
    told = {"schedule": schedule(), "account": operator, "key": "k"}
    first, new = services.fire_now(**told, reason="why")
    again, newer = services.fire_now(**told, reason="why")
    assert (new, newer, first) == (True, False, again)
    with pytest.raises(Conflict, match="another reason"):
        services.fire_now(**told, reason="else")
    assert Task.objects.count() == 1


def test_firing_by_hand_what_can_not_be_leaves_nothing(schedule, operator, ready_dataset):
    one = schedule()
    type(ready_dataset).objects.update(state="deleted")
    with pytest.raises(Conflict, match="is deleted"):
        services.fire_now(schedule=one, account=operator, reason="why")
    assert Fire.objects.count() == Task.objects.count() == 0


def test_a_fire_by_hand_at_the_very_moment_is_the_fire(schedule):
    one = schedule()
    Fire.objects.create(schedule=one, fire_time=NOON + HOUR, outcome="created", asked_by="x")
    assert fire_due(NOON + HOUR) == {}
    one.refresh_from_db()
    assert one.next_at == NOON + 2 * HOUR


def test_deleting_a_schedule_leaves_its_tasks(schedule, operator):
    one = schedule()
    fire_due(NOON + HOUR)
    services.delete(schedule=one, account=operator)
    assert Task.objects.count() == 1
    assert Fire.objects.count() == 0


def test_local_time_follows_the_clocks(schedule):
    one = schedule(cron="30 2 * * *", timezone="Europe/Berlin")
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    Schedule.objects.update(decided_until=before, next_at=before)
    for hours in range(60):
        fire_due(before + hours * HOUR)
        Task.objects.update(state="completed")
    # 02:30 does not exist on the 29th: 03:00 in summer time; then 02:30 in summer time.
    assert [f"{fire.fire_time:%d %H:%M}" for fire in one.fires.order_by("fire_time")] == [
        "29 01:00",
        "30 00:30",
    ]
