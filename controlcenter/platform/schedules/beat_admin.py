"""Beat's entries in the admin, to read: they are written by code."""

from typing import Any

import django_celery_beat.admin  # noqa: F401  (registers what is taken back below)
from django.contrib import admin
from django.http import HttpRequest
from django_celery_beat import models as beat

from controlcenter.platform.accounts.console import ConsoleAdmin

for model in (
    beat.PeriodicTask,
    beat.IntervalSchedule,
    beat.CrontabSchedule,
    beat.ClockedSchedule,
    beat.SolarSchedule,
):
    admin.site.unregister(model)


@admin.register(beat.PeriodicTask)
class PeriodicTaskAdmin(ConsoleAdmin):
    """Chores that beat wakes, as the code says; ``fire`` looks for schedules that are due."""

    list_display = ("name", "task", "every", "enabled", "last_run_at", "total_run_count")
    fields = ("name", "task", "every", "queue", "expire_seconds", "enabled", "last_run_at",
              "total_run_count")  # fmt: skip
    ordering = ("name",)
    list_select_related = ("interval", "crontab", "solar", "clocked")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.is_superuser(request)

    def may_see_history(self, request: HttpRequest, row: Any) -> bool:
        return self.is_superuser(request)

    @staticmethod
    def is_superuser(request: HttpRequest) -> bool:
        """They belong to no workspace."""
        return bool(request.user.is_active and getattr(request.user, "is_superuser", False))

    @admin.display(description="when")
    def every(self, entry: beat.PeriodicTask) -> str:
        return str(entry.scheduler)
