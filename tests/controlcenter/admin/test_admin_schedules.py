"""Schedules in the admin: the form, the next fire times, what became of the last, the switch."""

import re

import pytest
from controlcenter_fixtures import make_schedule
from django.contrib.messages import get_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.schedules.models import Fire, Schedule

pytestmark = pytest.mark.django_db


def url(name, *args):
    return reverse(f"admin:schedules_schedule_{name}", args=args)


def said(answer) -> str:
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


def filled(alpha, **more):
    """The form of a new schedule."""
    body = {"workspace": "alpha", "workflow": "refresh", "mode": "full_retrain", "scope": "full"}
    body |= {"dataset": alpha.pk("datasets.Dataset"), "priority": 0, "device": "auto"}
    body |= {"name": "weekly", "cron": "0 3 * * MON", "timezone": "Europe/Berlin"}
    return body | {"missed": "skip", "overlap": "queue", "enabled": "on", "epochs": 3} | more


def test_a_schedule_is_added_and_shows_its_next_fires(alpha, as_):
    answer = as_("operator").post(url("add"), filled(alpha))
    schedule = Schedule.objects.get(name="weekly")
    assert answer.url == url("change", schedule.pk)
    assert (schedule.missed, schedule.overlap, schedule.enabled) == ("skip", "queue", True)
    assert schedule.spec["parameters"]["epochs"] == 3
    assert schedule.created_by.username == "operator"
    page = as_("viewer").get(answer.url).content.decode()
    assert len(re.findall(r"Mon \d{4}-\d\d-\d\d 03:00 CES?T", page)) == 5
    assert "Fire now" not in page
    assert "Fire now" in as_("operator").get(answer.url).content.decode()


@pytest.mark.parametrize(
    ("more", "field", "message"),
    [
        ({"cron": "nonsense"}, "cron", "expected five fields"),
        ({"timezone": "Mars/Base"}, "timezone", "Europe/Berlin"),
        ({"name": "schedule alphamark"}, "name", "already"),
        ({"epochs": 0}, "epochs", "from 1 to 1000"),
        ({"dataset": ""}, "dataset", "needs a dataset"),
        ({"workspace": "beta"}, "workspace", "valid choice"),
        ({"overlap": "kill"}, "overlap", "valid choice"),
    ],
)
def test_bad_schedules_are_named_and_not_made(more, field, message, alpha, beta, as_):
    before = Schedule.objects.count()
    answer = as_("operator").post(url("add"), filled(alpha, **more))
    assert message in str(answer.context["form"].errors[field])
    assert Schedule.objects.count() == before


def test_the_form_of_a_change_is_filled_in_and_saves(alpha, as_):
    as_("operator").post(url("add"), filled(alpha))
    schedule = Schedule.objects.get(name="weekly")
    change = url("operation", schedule.pk, "edit")
    form = as_("operator").get(change).context["form"]
    assert {name: form[name].value() for name in ("cron", "overlap", "epochs", "mode")} == {
        "cron": "0 3 * * MON",
        "overlap": "queue",
        "epochs": 3,
        "mode": "full_retrain",
    }
    as_("operator").post(change, filled(alpha, cron="0 4 * * *", enabled=""))
    schedule.refresh_from_db()
    assert (schedule.cron, schedule.enabled, schedule.next_at) == ("0 4 * * *", False, None)


def test_it_is_switched_by_a_button_and_by_the_list(alpha, as_):
    schedule = alpha.rows["schedules.Schedule"]
    as_("operator").post(url("operation", schedule.pk, "disable"))
    assert Schedule.objects.get(pk=schedule.pk).next_at is None
    body = {"action": "enable", "_selected_action": [schedule.pk]}
    answer = as_("operator").post(url("changelist"), body)
    assert "Enable: 1 done." in said(answer)
    assert Schedule.objects.get(pk=schedule.pk).next_at is not None


def test_it_is_fired_by_hand_with_a_reason_and_says_what_became_of_it(alpha, as_):
    schedule = alpha.rows["schedules.Schedule"]
    target = url("operation", schedule.pk, "fire")
    assert "required" in str(as_("operator").post(target, {}).context["form"].errors["reason"])
    as_("operator").post(target, {"reason": "<b>new data</b>"})
    task_id = Fire.objects.get(schedule=schedule).result_id
    page = as_("viewer").get(url("change", schedule.pk)).content.decode()
    for text in (
        "&lt;b&gt;new data",
        "operator",
        reverse("admin:tasks_task_change", args=[task_id]),
    ):
        assert text in page


def test_it_is_deleted_and_its_tasks_stay(alpha, as_):
    schedule = alpha.rows["schedules.Schedule"]
    as_("operator").post(url("operation", schedule.pk, "fire"), {"reason": "once"})
    before = Task.objects.count()
    as_("operator").post(url("operation", schedule.pk, "delete"))
    assert not Schedule.objects.filter(pk=schedule.pk).exists()
    assert Task.objects.count() == before


def test_the_list_says_when_and_what_and_costs_the_same_however_long(alpha, as_):
    as_("operator").post(
        url("operation", alpha.pk("schedules.Schedule"), "fire"), {"reason": "once"}
    )
    client = as_("operator")
    client.get(url("changelist"))
    with CaptureQueriesContext(connection) as few:
        page = client.get(url("changelist")).content.decode()
    assert "created" in page
    for number in range(5):
        make_schedule(alpha.workspace, alpha.rows["datasets.Dataset"], name=f"more {number}")
    with CaptureQueriesContext(connection) as many:
        client.get(url("changelist"))
    assert len(many) == len(few)


def test_entries_of_beat_are_shown_to_superusers(as_):
    every = IntervalSchedule.objects.create(every=15, period="seconds")
    entry = PeriodicTask.objects.create(name="fire", task="workers.fire", interval=every)
    for page in ("changelist", "change"):
        args = [entry.pk] if page == "change" else []
        address = reverse(f"admin:django_celery_beat_periodictask_{page}", args=args)
        assert "every 15 seconds" in as_("superuser").get(address).content.decode()
        assert as_("owner").get(address).status_code == 403
