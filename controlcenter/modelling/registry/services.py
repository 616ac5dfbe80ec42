"""Register, activate and roll back model versions."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Now

from controlcenter.modelling.datasets.deriving import working_dataset
from controlcenter.modelling.datasets.models import DatasetState
from controlcenter.modelling.registry.models import ActiveVersion, ModelVersion
from controlcenter.modelling.tasks import parameters, services, states
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.workflows import Mode, Workflow
from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.audit.services import record
from controlcenter.platform.common.errors import Conflict


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


def active_version(workspace: Workspace) -> ModelVersion | None:
    """The version that the workspace's scores come from."""
    pointer = (
        ActiveVersion.objects.filter(workspace=workspace).select_related("version__dataset").first()
    )
    return pointer.version if pointer else None


def register(task: Task, trained: Trained) -> ModelVersion:
    """Make the version of a task, in the transaction that completes it."""
    Workspace.objects.select_for_update().get(pk=task.workspace_id)
    mine = ModelVersion.objects.filter(workspace=task.workspace_id)
    number = (mine.aggregate(last=Max("number"))["last"] or 0) + 1
    working = working_dataset(task)
    dataset_id = working.pk if working else None
    if dataset_id is None and task.base_version is not None:
        dataset_id = task.base_version.dataset_id
    if dataset_id is None:
        raise LookupError(f"task {task.pk} names no dataset, nor does its base version")
    version = ModelVersion.objects.create(
        id=trained.version_id,
        workspace_id=task.workspace_id,
        number=number,
        task=task,
        iteration=task.iteration,
        dataset_id=dataset_id,
        base=task.base_version if task.workflow == Workflow.FUSION else None,
        seed=task.parameters["seed"],
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


def activate(version: ModelVersion, *, actor: str, reason: str) -> None:
    """Point the workspace at a version, in the caller's transaction; where it is active already,
    nothing changes."""
    if ActiveVersion.objects.filter(workspace=version.workspace_id, version=version).exists():
        return
    ActiveVersion.objects.update_or_create(
        workspace_id=version.workspace_id,
        defaults={"version": version, "moved_at": Now(), "moved_by": actor, "reason": reason},
    )
    Workspace.objects.filter(pk=version.workspace_id).update(schema=version.schema)


@transaction.atomic
def promote(
    *, version: ModelVersion, account: Account, reason: str, expected: uuid.UUID | None = None
) -> Task:
    """Move the pointer to a version (back or forth) and queue the rescoring that follows.

    Args:
        expected: The version that the caller believes active; None: any.

    Returns:
        The task that rescores.

    Raises:
        Conflict: if it is active already, or another one than expected is.
    """
    workspace = Workspace.objects.select_for_update().get(pk=version.workspace_id)
    current = active_version(workspace)
    if current is not None and current.pk == version.pk:
        raise Conflict(f"{version} is active already.")
    if expected is not None and (current is None or current.pk != expected):
        raise Conflict(f"Active is {current}, not the one you expected: look again.")
    activate(version, actor=account.username, reason=reason)
    details = {"from": current.number if current else None, "to": version.number, "reason": reason}
    record(
        account=account,
        workspace=workspace,
        action="model.promote",
        target=version,
        details=details,
    )
    return rescore(workspace, account, version, f"Rescoring with {version}")


@transaction.atomic
def rollback(*, workspace: Workspace, account: Account, reason: str) -> tuple[ModelVersion, Task]:
    """Back to the version before the active one.

    Raises:
        Conflict: if there is none.
    """
    current = active_version(workspace)
    if current is None:
        raise Conflict("The workspace has no model version yet: nothing to roll back.")
    earlier = ModelVersion.objects.filter(workspace=workspace, number__lt=current.number).first()
    if earlier is None:
        raise Conflict(f"{current} is the first: there is nothing before it.")
    task = promote(version=earlier, account=account, reason=reason, expected=current.pk)
    return earlier, task


def rescore(
    workspace: Workspace, account: Account | None, version: ModelVersion, name: str
) -> Task:
    """Queue new embeddings and scores by a version as it is: on its dataset and the events since,
    or on the graph it was trained on where the dataset is deleted."""
    ready = version.dataset.state == DatasetState.READY
    asked = services.Request(
        workflow=Workflow.REFRESH,
        parameters=parameters.defaults() | {"mode": Mode.EMBEDDING_ONLY, "seed": version.seed},
        dataset=version.dataset if ready else None,
        base_version=version,
        name=name,
    )
    task, _ = services.create(workspace=workspace, account=account, asked=asked)
    return task


def follow_rules(workspace: Workspace, account: Account | None) -> Task | None:
    """After a change of the rules: fuse anew, unless such a task waits already.

    Returns:
        The task, or None where there is no model yet.
    """
    version = active_version(workspace)
    if version is None:
        return None
    waiting = Task.objects.filter(
        workspace=workspace, workflow=Workflow.FUSION, state=states.PENDING
    ).first()
    if waiting is not None:
        return waiting
    asked = services.Request(
        workflow=Workflow.FUSION,
        parameters=parameters.defaults() | {"seed": version.seed},
        name="Rescoring after a change of the rules",
    )
    task, _ = services.create(workspace=workspace, account=account, asked=asked)
    return task
