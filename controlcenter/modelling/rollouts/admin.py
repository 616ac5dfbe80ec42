"""Model versions in the admin with what makes one of them serve: promote, roll back."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from controlcenter.modelling.registry.admin import ModelVersionAdmin
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.rollouts import services
from controlcenter.platform.accounts.console import Done, Operation, account_of
from controlcenter.platform.accounts.console.forms import ReasonForm, WorkspaceReasonForm
from controlcenter.platform.accounts.models import Role


@admin.register(ModelVersion)
class RolloutAdmin(ModelVersionAdmin):
    """What was learned, how good it is beside the baselines, and which one is in force."""

    operations = (
        Operation(
            "promote", "Promote", "run_promote", Role.OPERATOR, ReasonForm,
            offered=lambda row: not row.active,
            help="The scores come from this version then; a task rescores.",
        ),
    )  # fmt: skip
    list_operations = (
        Operation(
            "rollback", "Roll back", "run_rollback", Role.OPERATOR, WorkspaceReasonForm,
            danger=True, help="Back to the version before the active one; a task rescores.",
        ),
    )  # fmt: skip

    def run_promote(self, request: HttpRequest, row: Any, data: dict[str, Any]) -> Done:
        task = services.promote(version=row, account=account_of(request), reason=data["reason"])
        url = reverse("admin:tasks_task_change", args=[task.pk])
        return Done(f"{row} is active now; this task rescores.", url)

    def run_rollback(self, request: HttpRequest, row: None, data: dict[str, Any]) -> Done:
        version, task = services.rollback(
            workspace=data["workspace"], account=account_of(request), reason=data["reason"]
        )
        url = reverse("admin:tasks_task_change", args=[task.pk])
        return Done(f"{version} is active again; this task rescores.", url)
