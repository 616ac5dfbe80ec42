"""Schedules in the admin: when they fire next, what became of the last fires, their switch.

What they make is shown by the room of their action, which derives from ``ScheduleAdmin``.
"""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.safestring import SafeString

from controlcenter.platform.accounts.console import (
    Done,
    Operation,
    ScopedAdmin,
    WorkspaceFilter,
    account_of,
)
from controlcenter.platform.accounts.console.forms import ConfirmForm, ReasonForm
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.common.formatting import NONE, Table, badge, link, when
from controlcenter.platform.schedules import actions, beat_admin, services
from controlcenter.platform.schedules.models import Fire, Outcome, Schedule
from controlcenter.platform.schedules.serializers import upcoming

__all__ = ["ScheduleAdmin", "beat_admin"]
FIRES = 20
TONES = {
    Outcome.CREATED: "done",
    Outcome.MADE_UP: "done",
    Outcome.REFUSED: "failed",
    Outcome.WAITING: "waiting",
    Outcome.SKIPPED: "skipped",
}


class ScheduleAdmin(ScopedAdmin):
    """Base of the pages of schedules: all but what they make."""

    change_form_template = "admin/ups/schedule.html"
    list_filter: ClassVar[Any] = (WorkspaceFilter, "enabled")
    search_fields = ("name", "cron")
    when_fields: ClassVar[tuple[str, Any]] = (
        "When",
        {"fields": ("cron", "timezone", "missed", "overlap", "switch", "next")},
    )
    operations: tuple[Operation, ...] = (
        Operation(
            "fire", "Fire now", "run_fire", Role.OPERATOR, ReasonForm,
            help="Creates its task at once, whatever runs.",
        ),
        Operation(
            "enable", "Enable", "run_enable", Role.OPERATOR, bulk=True,
            offered=lambda schedule: not schedule.enabled,
            help="It goes on with the first fire time after now.",
        ),
        Operation(
            "disable", "Disable", "run_disable", Role.OPERATOR, bulk=True,
            offered=lambda schedule: schedule.enabled,
            help="What is due or waits is left out.",
        ),
        Operation(
            "delete", "Delete", "run_delete", Role.OPERATOR, ConfirmForm, danger=True,
            help="With the record of its fires; its tasks stay.",
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        last = Fire.objects.filter(schedule=OuterRef("pk")).order_by("-fire_time")
        queryset = super().get_queryset(request)
        return queryset.annotate(last_fire=Subquery(last.values("outcome")[:1]))

    @admin.display(description="switch", ordering="enabled")
    def switch(self, schedule: Schedule) -> SafeString:
        return badge("active", "enabled") if schedule.enabled else badge("off", "disabled")

    @admin.display(description="next fire", ordering="next_at")
    def next(self, schedule: Schedule) -> str:
        return when(schedule.next_at)

    @admin.display(description="last fire")
    def last_outcome(self, schedule: Any) -> SafeString | str:
        return outcome_badge(schedule.last_fire) if schedule.last_fire else NONE

    def panels(self, request: HttpRequest, row: Schedule) -> dict[str, Any]:
        return {"tables": [upcoming_table(row), fires_table(row)]}

    def columns(self, data: dict[str, Any]) -> dict[str, Any]:
        """What the form says, as columns of ``Schedule``."""
        raise NotImplementedError

    def run_add(self, request: HttpRequest, row: None, data: dict[str, Any]) -> Done:
        schedule = services.create(
            workspace=data["workspace"], account=account_of(request), fields=self.columns(data)
        )
        return Done(
            f"Schedule {schedule} fires next {when(schedule.next_at)}.", self.row_url(schedule)
        )

    def run_edit(self, request: HttpRequest, row: Schedule, data: dict[str, Any]) -> Done:
        schedule = services.update(
            schedule=row, account=account_of(request), fields=self.columns(data)
        )
        return Done(f"Schedule {schedule} is saved.")

    def run_fire(self, request: HttpRequest, row: Schedule, data: dict[str, Any]) -> Done:
        services.fire_now(schedule=row, account=account_of(request), reason=data["reason"])
        return Done(f"Schedule {row} made a {actions.of(row).noun}.")

    def run_enable(self, request: HttpRequest, row: Schedule, data: dict[str, Any]) -> Done:
        return self.turn(request, row, on=True)

    def run_disable(self, request: HttpRequest, row: Schedule, data: dict[str, Any]) -> Done:
        return self.turn(request, row, on=False)

    @staticmethod
    def turn(request: HttpRequest, row: Schedule, *, on: bool) -> Done:
        services.update(schedule=row, account=account_of(request), fields={"enabled": on})
        return Done(f"Schedule {row} is {'enabled' if on else 'disabled'}.")

    def run_delete(self, request: HttpRequest, row: Schedule, data: dict[str, Any]) -> Done:
        services.delete(schedule=row, account=account_of(request))
        return Done(f"Schedule {row} is deleted.", self.list_url())


def outcome_badge(outcome: str) -> SafeString:
    return badge(TONES[Outcome(outcome)], outcome.replace("_", " "))


def upcoming_table(schedule: Schedule) -> Table:
    rows = [
        [when(moment), f"{moment.astimezone(schedule.zone):%a %Y-%m-%d %H:%M %Z}"]
        for moment in upcoming(schedule)
    ]
    return Table("Next fires", ["UTC", schedule.timezone], rows)


def fires_table(schedule: Schedule) -> Table:
    fires, action = list(schedule.fires.all()[:FIRES]), actions.of(schedule)
    states = action.states(fire.result_id for fire in fires if fire.result_id)
    rows = [
        [
            f"{fire.fire_time:%Y-%m-%d %H:%M:%S}",
            outcome_badge(fire.outcome),
            fire.reason or NONE,
            fire.passed_over or NONE,
            fire.asked_by or "the clock",
            link(action.url(fire.result_id), states[fire.result_id])
            if fire.result_id in states
            else NONE,
        ]
        for fire in fires
    ]
    titles = ["fire time", "outcome", "why", "stands for earlier", "who", action.noun]
    return Table(f"Last {FIRES} fires", titles, rows, wide=True)
