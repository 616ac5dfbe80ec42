"""What a training leaves beside the model for the stage that registers the version."""

import json
import uuid
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.stages import finished

FILE = "version.json"


@dataclass(frozen=True, kw_only=True)
class VersionRecord:
    """One version before it has a row.

    Args:
        rules: Those it was trained with, each with name, expression and weight.
        rules_sitting_out: Why, by the name of each that the graph's schema cannot run.
    """

    version_id: str
    rule_revision: int
    rules: list[dict[str, Any]]
    rules_sitting_out: dict[str, str]
    code_version: str

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What ``save`` wrote into a folder.

        Raises:
            KeyError: if a field is missing.
        """
        stored = json.loads((folder / FILE).read_text())
        return cls(**{field.name: stored[field.name] for field in fields(cls)})

    def save(self, folder: Path) -> None:
        """Write it beside the model's files."""
        (folder / FILE).write_text(json.dumps(asdict(self)))

    def id_for(self, task: Task) -> uuid.UUID:
        """Id of the version that the task makes; a retry that took a training over has its own."""
        trained = uuid.UUID(self.version_id)
        run = finished(task.pk, task.iteration, states.TRAINING)
        if run is None or run.owner_id == task.pk:
            return trained
        return uuid.uuid5(trained, str(task.pk))
