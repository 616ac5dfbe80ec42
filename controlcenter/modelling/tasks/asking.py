"""From what a request says of a task to what the services are asked for."""

import uuid
from typing import Any

from rest_framework.exceptions import NotFound, ValidationError

from controlcenter.modelling.tasks import parameters, services, workflows
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.accounts.viewsets import InWorkspace


class AsksForTask(InWorkspace):
    """A view whose requests describe a task, as ``NewTaskSerializer`` leaves it."""

    def asked(self, data: dict[str, Any]) -> services.Request:
        """Raises: NotFound for a row that is named and not there, or not visible."""
        told = data.get("parameters") or parameters.defaults()
        based = workflows.needs_base(data["workflow"], told["mode"])
        return services.Request(
            workflow=data["workflow"],
            parameters=dict(told),
            dataset=self.related("dataset", data["dataset"]),
            base_version=self.related("base_version", data["base_version"]) if based else None,
            name=data["name"],
            priority=data["priority"],
            start=data.get("start", True),
        )

    def idempotency_key(self) -> str:
        """Raises: ValidationError if it is longer than what is kept."""
        key = self.request.headers.get("Idempotency-Key", "")
        if len(key) > 200:
            raise ValidationError({"Idempotency-Key": f"has {len(key)} characters, at most 200"})
        return key

    def related(self, name: str, key: uuid.UUID | None) -> Any:
        """The row that a field names, if the account may see it.

        Raises:
            NotFound: if it is not there or not visible, which is not told apart.
        """
        if key is None:
            return None
        model: Any = Task._meta.get_field(name).related_model
        visible = model.objects.visible_to(self.account).in_workspace(self.workspace)
        row = visible.filter(pk=key).first()
        if row is None:
            raise NotFound(f"No {name.replace('_', ' ')} {key} in workspace {self.workspace.slug}.")
        return row
