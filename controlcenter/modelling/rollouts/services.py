"""What serves: activate model versions, roll back, and rescore with what is active."""

import uuid

from django.db import transaction
from django.db.models.functions import Now

from controlcenter.modelling.datasets.models import DatasetState
from controlcenter.modelling.registry.models import ActiveVersion, ModelVersion
from controlcenter.modelling.registry.queries import active_version
from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.services import create
from controlcenter.modelling.tasks.spec import parameters
from controlcenter.modelling.tasks.spec.task_spec import TaskSpec
from controlcenter.modelling.tasks.workflows import Mode, Workflow
from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.audit.services import record
from controlcenter.platform.common.errors import Conflict


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
    current = active_version(workspace.pk)
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
    current = active_version(workspace.pk)
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
    spec = TaskSpec(
        workflow=Workflow.REFRESH,
        parameters=parameters.defaults() | {"mode": Mode.EMBEDDING_ONLY, "seed": version.seed},
        dataset=version.dataset if ready else None,
        base_version=version,
        name=name,
    )
    task, _ = create(workspace=workspace, account=account, spec=spec)
    return task


def follow_rules(workspace: Workspace, account: Account | None) -> Task | None:
    """After a change of the rules: fuse anew, unless such a task waits already.

    Returns:
        The task, or None where there is no model yet.
    """
    version = active_version(workspace.pk)
    if version is None:
        return None
    waiting = Task.objects.filter(
        workspace=workspace, workflow=Workflow.FUSION, state=states.PENDING
    ).first()
    if waiting is not None:
        return waiting
    spec = TaskSpec(
        workflow=Workflow.FUSION,
        parameters=parameters.defaults() | {"seed": version.seed},
        name="Rescoring after a change of the rules",
    )
    task, _ = create(workspace=workspace, account=account, spec=spec)
    return task
