"""From what a request says of a task to the ``TaskSpec`` that the services take."""

import uuid
from typing import Any

from rest_framework.exceptions import NotFound

from controlcenter.modelling.tasks import workflows
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.spec import parameters
from controlcenter.modelling.tasks.spec.task_spec import TaskSpec
from controlcenter.platform.accounts.viewsets import InWorkspace


class DescribesTask(InWorkspace):
    """A view whose requests describe a task, as ``NewTaskSerializer`` leaves it."""

    def spec(self, data: dict[str, Any]) -> TaskSpec:
        """Raises: NotFound for a row that is named and not there, or not visible."""
        given = data.get("parameters") or parameters.defaults()
        based = workflows.needs_base(data["workflow"], given["mode"])
        return TaskSpec(
            workflow=data["workflow"],
            parameters=dict(given),
            dataset=self.related("dataset", data["dataset"]),
            base_version=self.related("base_version", data["base_version"]) if based else None,
            name=data["name"],
            priority=data["priority"],
            start=data.get("start", True),
        )

    def related(self, name: str, key: uuid.UUID | None) -> Any:
        """The row that a field names, if the account may see it.

        Raises:
            NotFound: if it is not there or not visible, which is not given apart.
        """
        if key is None:
            return None
        model: Any = Task._meta.get_field(name).related_model
        visible = model.objects.visible_to(self.account).in_workspace(self.workspace)
        row = visible.filter(pk=key).first()
        if row is None:
            raise NotFound(f"No {name.replace('_', ' ')} {key} in workspace {self.workspace.slug}.")
        return row
