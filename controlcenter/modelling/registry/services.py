"""Register model versions: what was learned, from what, and by which code."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Max

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.artifacts.models import Artifact


@dataclass(frozen=True)
class VersionOrigin:
    """Where a version comes from.

    Args:
        base: The version whose weights it keeps, if any.
    """

    workspace_id: uuid.UUID
    task_id: uuid.UUID
    iteration: int
    dataset_id: uuid.UUID
    base: ModelVersion | None
    seed: int


@dataclass(frozen=True)
class Trained:
    """What a training leaves for its version.

    Args:
        files: Artifacts of the model; ``graph_files``: of the graph it was trained on.
    """

    version_id: uuid.UUID
    schema: dict[str, Any]
    schema_hash: str
    rule_revision: int
    rules: list[dict[str, Any]]
    rules_sitting_out: dict[str, str]
    metrics: dict[str, Any]
    code_version: str
    files: list[Artifact] = field(default_factory=list)
    graph_files: list[Artifact] = field(default_factory=list)


def register(origin: VersionOrigin, trained: Trained) -> ModelVersion:
    """Make a version, in the transaction of what trained it; its number is the workspace's next."""
    Workspace.objects.select_for_update().get(pk=origin.workspace_id)
    versions = ModelVersion.objects.filter(workspace=origin.workspace_id)
    number = (versions.aggregate(last=Max("number"))["last"] or 0) + 1
    version = ModelVersion.objects.create(
        id=trained.version_id,
        workspace_id=origin.workspace_id,
        number=number,
        task_id=origin.task_id,
        iteration=origin.iteration,
        dataset_id=origin.dataset_id,
        base=origin.base,
        seed=origin.seed,
        code_version=trained.code_version,
        schema=trained.schema,
        schema_hash=trained.schema_hash,
        rule_revision=trained.rule_revision,
        rules=trained.rules,
        rules_sitting_out=trained.rules_sitting_out,
        metrics=trained.metrics,
    )
    version.files.set(trained.files)
    version.graph_files.set(trained.graph_files)
    return version
