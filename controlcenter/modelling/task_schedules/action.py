"""Tasks as what a schedule makes."""

import uuid
from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks import services, states
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.spec import task_spec
from controlcenter.modelling.tasks.spec.task_spec import TaskSpec
from controlcenter.platform.accounts.models import Account
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.schedules.actions import Action, Unfinished
from controlcenter.platform.schedules.models import Schedule


class TaskAction(Action):
    """Each fire creates the task that ``POST /api/v1/tasks/`` would create."""

    name = "task"
    noun = "task"

    def check(self, schedule: Schedule) -> None:
        task_spec.check(spec_of(schedule), schedule.workspace)

    def make(self, schedule: Schedule, *, account: Account | None, key: str) -> uuid.UUID:
        task, _ = services.create(
            workspace=schedule.workspace, account=account, spec=spec_of(schedule), key=key
        )
        return task.pk

    def unfinished(self, ids: QuerySet[Any, uuid.UUID]) -> Unfinished | None:
        tasks = Task.objects.filter(pk__in=ids, state__in=states.INCOMPLETE)
        last = tasks.order_by("-created_at").first()
        return Unfinished(last.pk, last.state) if last else None

    def states(self, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
        return dict(Task.objects.filter(pk__in=ids).values_list("pk", "state"))

    def url(self, result_id: uuid.UUID) -> str:
        return reverse("admin:tasks_task_change", args=[result_id])


TASKS = TaskAction()


def describe(spec: TaskSpec) -> dict[str, Any]:
    """The task that a schedule is to make, as the schedule's ``spec`` keeps it."""
    return {
        "workflow": spec.workflow,
        "dataset": str(spec.dataset.pk) if spec.dataset else None,
        "base_version": str(spec.base_version.pk) if spec.base_version else None,
        "parameters": spec.parameters,
        "priority": spec.priority,
    }


def spec_of(schedule: Schedule) -> TaskSpec:
    """The task that each fire asks for.

    Raises:
        Conflict: if a row that the schedule names is not there any more.
    """
    spec = schedule.spec
    return TaskSpec(
        workflow=spec["workflow"],
        parameters=spec["parameters"],
        dataset=named(Dataset, spec["dataset"]),
        base_version=named(ModelVersion, spec["base_version"]),
        name=schedule.name,
        priority=spec["priority"],
    )


def named(model: Any, key: str | None) -> Any:
    row = model.objects.filter(pk=key).first() if key else None
    if key and row is None:
        raise Conflict(f"The {model._meta.verbose_name} {key} is not there any more.")
    return row
