"""A room of its own has its reports made by schedules, beside the schedules of tasks."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from controlcenter_fixtures import make_dataset, make_schedule
from rest_framework.exceptions import ValidationError

from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.schedules import actions, services
from controlcenter.platform.schedules.actions import Action, Unfinished
from controlcenter.platform.schedules.admin import fires_table
from controlcenter.platform.schedules.firing import fire_due
from controlcenter.platform.schedules.models import Fire, Schedule

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


class ReportAction(Action):
    """Makes reports, which lie in this object."""

    name, noun = "report", "report"

    def __init__(self):
        self.reports, self.state, self.makers = {}, {}, {}
        self.paper = 10

    def check(self, schedule):
        if schedule.spec["pages"] < 1:
            raise ValidationError({"pages": f"got {schedule.spec['pages']}, expected 1 or more"})

    def make(self, schedule, *, account, key):
        if schedule.spec["pages"] > self.paper:
            raise Conflict("There is not paper enough.")
        report = uuid.uuid5(uuid.NAMESPACE_URL, key)
        assert report not in self.reports, "one fire makes one report"
        self.reports[report] = schedule.spec["pages"]
        self.state[report], self.makers[report] = "printing", account
        return report

    def unfinished(self, ids):
        open_ones = [one for one in ids if self.state[one] == "printing"]
        return Unfinished(open_ones[-1], "printing") if open_ones else None

    def states(self, ids):
        return {one: self.state[one] for one in ids}

    def url(self, result_id):
        return f"/reports/{result_id}/"


@pytest.fixture
def reports(monkeypatch):
    """The action, registered for one test."""
    monkeypatch.setattr(actions, "_actions", dict(actions._actions))
    action = ReportAction()
    actions.register(action)
    return action


@pytest.fixture
def schedule(workspace, operator, reports):
    """Hourly reports, decided until noon of a day in June."""

    def make(name="reports", pages=2, **fields):
        fields |= {"name": name, "cron": "0 * * * *", "action": "report", "spec": {"pages": pages}}
        made = services.create(workspace=workspace, account=operator, fields=fields)
        Schedule.objects.filter(pk=made.pk).update(decided_until=NOON, next_at=NOON)
        return Schedule.objects.get(pk=made.pk)

    return make


def test_a_schedule_of_reports_and_one_of_tasks_fire_beside_each_other(
    schedule, workspace, ready_dataset, reports
):
    mine = schedule(overlap="skip")
    theirs = make_schedule(
        workspace, ready_dataset, cron="30 * * * *", decided_until=NOON, next_at=NOON
    )
    assert fire_due(NOON + 65 * MINUTE) == {"created": 1, "made_up": 1}
    assert [reports.reports[fire.result_id] for fire in mine.fires.all()] == [2]
    assert theirs.fires.get().result_id == Task.objects.get().pk
    Task.objects.update(state="completed")
    assert fire_due(NOON + 125 * MINUTE) == {"skipped": 1, "made_up": 1}
    first = mine.fires.last().result_id
    assert mine.fires.first().reason == f"Report {first} is printing."
    details = AuditEntry.objects.filter(target_id=str(mine.pk)).last().details
    assert "task" not in details
    entries = AuditEntry.objects.filter(action="schedule.fire", target_id=str(mine.pk))
    assert {entry.details["report"] for entry in entries} == {str(first), None}


def test_a_report_that_is_not_over_is_waited_for_whatever_tasks_do(schedule, reports):
    mine = schedule(overlap="wait")
    fire_due(NOON + HOUR)
    fire_due(NOON + 2 * HOUR)
    first = mine.fires.last().result_id
    assert mine.fires.first().reason == f"Waits for report {first}."
    assert fire_due(NOON + 2 * HOUR + MINUTE) == {}
    reports.state[first] = "printed"
    assert fire_due(NOON + 2 * HOUR + 2 * MINUTE) == {"created": 1}
    assert mine.fires.first().reason == "Waited 2 min for the report before it."
    assert len(reports.reports) == 2


def test_the_action_refuses_a_schedule_when_written_and_a_fire_when_due(
    schedule, operator, reports
):
    with pytest.raises(ValidationError, match="expected 1 or more"):
        schedule(pages=0)
    mine = schedule(pages=8)
    reports.paper = 4
    assert fire_due(NOON + HOUR) == {"refused": 1}
    assert "There is not paper enough." in mine.fires.get().reason
    with pytest.raises(Conflict, match="not paper enough"):
        services.fire_now(schedule=mine, account=operator, reason="now")
    with pytest.raises(ValidationError, match="expected 1 or more"):
        services.update(schedule=mine, account=operator, fields={"spec": {"pages": -1}})
    services.update(schedule=mine, account=operator, fields={"spec": {"pages": 3}})
    fire, _ = services.fire_now(schedule=mine, account=operator, reason="now")
    assert (reports.reports, reports.makers) == ({fire.result_id: 3}, {fire.result_id: operator})
    assert Task.objects.count() == 0


def test_keys_of_a_spec_change_one_by_one(schedule, operator):
    mine = schedule()
    services.update(schedule=mine, account=operator, fields={"spec": {"title": "A"}})
    stale = services.update(schedule=mine, account=operator, fields={"spec": {"pages": 5}})
    services.update(schedule=stale, account=operator, fields={"spec": {"pages": 5}})
    assert Schedule.objects.get(pk=mine.pk).spec == {"pages": 5, "title": "A"}
    updates = AuditEntry.objects.filter(action="schedule.update").order_by("id")
    assert [{**entry.details, "name": ""} for entry in updates] == [
        {"name": "", "title": "A"}, {"name": "", "pages": 5}
    ]  # fmt: skip


def test_its_fires_lead_to_its_reports(schedule, reports):
    mine = schedule()
    fire_due(NOON + HOUR)
    (report,) = reports.reports
    table = fires_table(mine)
    assert table.columns[-1] == "report"
    assert f'<a href="/reports/{report}/">printing</a>' in table.rows[0][-1]


def test_the_api_of_tasks_schedules_does_not_show_those_of_reports(
    schedule, workspace, as_operator
):
    mine = schedule()
    theirs = make_schedule(workspace, make_dataset(workspace))
    listed = as_operator.get("/api/v1/schedules/").json()["results"]
    assert [row["id"] for row in listed] == [str(theirs.pk)]
    assert as_operator.get(f"/api/v1/schedules/{mine.pk}/").status_code == 404


def test_a_schedule_whose_action_is_not_there_keeps_no_other_from_firing(
    schedule, workspace, ready_dataset, monkeypatch
):
    mine = schedule()
    make_schedule(workspace, ready_dataset, cron="0 * * * *", decided_until=NOON, next_at=NOON)
    with monkeypatch.context() as gone:
        gone.delitem(actions._actions, "report")
        assert fire_due(NOON + HOUR) == {"failed": 1, "created": 1}
    assert fire_due(NOON + HOUR) == {"created": 1}
    assert Fire.objects.filter(schedule=mine).count() == 1


def test_an_action_has_a_name_of_its_own(reports):
    actions.register(reports)
    with pytest.raises(ValueError, match="report"):
        actions.register(ReportAction())
