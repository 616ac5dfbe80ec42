"""What a new task is to be, and whether it can be."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from rest_framework.exceptions import ValidationError

from controlcenter.modelling.datasets.models import Dataset, DatasetState
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.registry.queries import active_version
from controlcenter.modelling.tasks import workflows
from controlcenter.modelling.tasks.workflows import Mode, Workflow
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.common.errors import Conflict


@dataclass(frozen=True)
class TaskSpec:
    """What a new task is to be.

    Args:
        parameters: As ``ParametersSerializer`` leaves them.
    """

    workflow: str
    parameters: dict[str, Any]
    dataset: Dataset | None = None
    base_version: ModelVersion | None = None
    name: str = ""
    priority: int = 0
    start: bool = True

    @property
    def hash(self) -> str:
        """SHA-256 of all that it says: a repeated request is the same one if its hash is."""
        content = {
            "workflow": self.workflow,
            "parameters": self.parameters,
            "dataset": str(self.dataset.pk) if self.dataset else None,
            "base_version": str(self.base_version.pk) if self.base_version else None,
            "name": self.name,
            "priority": self.priority,
            "start": self.start,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check(spec: TaskSpec, workspace: Workspace) -> None:
    """Raises: ValidationError or Conflict if the request can't be a task."""
    mode = spec.parameters["mode"]
    if (spec.workflow, mode) not in workflows.PATHS:
        raise ValidationError({"parameters.mode": f"workflow {spec.workflow} has no mode {mode}"})
    own_graph = mode == Mode.EMBEDDING_ONLY and spec.base_version is not None
    if spec.dataset is None and spec.workflow != Workflow.FUSION and not own_graph:
        raise ValidationError({"dataset": f"the workflow {spec.workflow} needs a dataset"})
    if spec.dataset is not None and spec.dataset.state != DatasetState.READY:
        raise Conflict(
            f"Dataset {spec.dataset.name!r} is {spec.dataset.state}; a task needs one that is "
            "ready: wait for its validation, or read its quality report."
        )
    based = workflows.needs_base(spec.workflow, mode)
    if based and spec.base_version is None and active_version(workspace.pk) is None:
        raise Conflict("The workspace has no model version yet: run a full refresh first.")
