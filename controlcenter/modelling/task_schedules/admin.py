"""Schedules of tasks in the admin: what each of them makes."""

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery, UUIDField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.task_schedules.action import TASKS, describe
from controlcenter.modelling.task_schedules.admin_forms import ScheduleForm
from controlcenter.modelling.tasks import workflows
from controlcenter.modelling.tasks.spec.task_spec import TaskSpec
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.accounts.console import Operation
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.common.formatting import NONE, link, pretty
from controlcenter.platform.schedules.admin import ScheduleAdmin
from controlcenter.platform.schedules.models import Schedule
from controlcenter.platform.schedules.serializers import OWN_FIELDS


class WorkflowFilter(admin.SimpleListFilter):
    title = "workflow"
    parameter_name = "workflow"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Workflow.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> QuerySet[Schedule]:
        return queryset.filter(spec__workflow=self.value()) if self.value() else queryset


@admin.register(Schedule)
class TaskScheduleAdmin(ScheduleAdmin):
    """Tasks that are created again and again, at the times of a cron expression."""

    list_display = (
        "name", "workspace", "cron", "timezone", "workflow", "dataset", "switch", "next",
        "last_outcome",
    )  # fmt: skip
    list_filter = (*ScheduleAdmin.list_filter, WorkflowFilter)
    fieldsets = (
        ScheduleAdmin.when_fields,
        (
            "What",
            {
                "fields": (
                    "workspace", "workflow", "dataset", "base_version", "priority",
                    "parameters", "created_by", "created_at", "updated_at", "id",
                )
            },
        ),
    )  # fmt: skip
    list_operations = (Operation("add", "Add a schedule", "run_add", Role.OPERATOR, ScheduleForm),)
    operations = (
        Operation("edit", "Change", "run_edit", Role.OPERATOR, ScheduleForm),
        *ScheduleAdmin.operations,
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the name of the dataset."""
        schedules = super().get_queryset(request).filter(action=TASKS.name)
        key = Cast(KT("spec__dataset"), UUIDField())
        dataset = Dataset.objects.filter(pk=OuterRef("dataset_key")).values("name")
        return schedules.annotate(dataset_key=key).annotate(dataset_name=Subquery(dataset))

    @admin.display(description="workflow")
    def workflow(self, schedule: Schedule) -> str:
        return str(Workflow(schedule.spec["workflow"]).label)

    @admin.display(description="dataset")
    def dataset(self, schedule: Any) -> SafeString | str:
        if schedule.dataset_key is None:
            return NONE
        url = reverse("admin:datasets_dataset_change", args=[schedule.dataset_key])
        return link(url, schedule.dataset_name)

    @admin.display(description="base version")
    def base_version(self, schedule: Schedule) -> SafeString | str:
        version = ModelVersion.objects.filter(pk=schedule.spec["base_version"]).first()
        if version is None:
            return NONE
        return link(reverse("admin:registry_modelversion_change", args=[version.pk]), version)

    @admin.display(description="priority")
    def priority(self, schedule: Schedule) -> int:
        priority: int = schedule.spec["priority"]
        return priority

    @admin.display(description="parameters")
    def parameters(self, schedule: Schedule) -> SafeString:
        return pretty(schedule.spec["parameters"])

    def columns(self, data: dict[str, Any]) -> dict[str, Any]:
        based = workflows.needs_base(data["workflow"], data["parameters"]["mode"])
        spec = TaskSpec(
            workflow=data["workflow"],
            parameters=data["parameters"],
            dataset=data["dataset"],
            base_version=data["base_version"] if based else None,
            priority=data["priority"],
        )
        own = {name: data[name] for name in OWN_FIELDS}
        return own | {"action": TASKS.name, "spec": describe(spec)}
