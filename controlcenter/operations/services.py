"""Duties of operators that are tasks in disguise."""

from typing import Any

from controlcenter.modelling.datasets.models import Dataset, DatasetState
from controlcenter.modelling.registry.queries import active_version
from controlcenter.modelling.tasks import services
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.spec import parameters
from controlcenter.modelling.tasks.spec.task_spec import TaskSpec
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.common.errors import Conflict


def train_fusion(*, workspace: Workspace, account: Account, overrides: dict[str, Any]) -> Task:
    """Fuse rules and embeddings of the active version anew.

    Raises:
        Conflict: if there is no model version yet.
    """
    spec = TaskSpec(
        workflow=Workflow.FUSION,
        parameters=parameters.defaults() | overrides,
        name="Fusion training",
    )
    task, _ = services.create(workspace=workspace, account=account, spec=spec)
    return task


def train_network(*, workspace: Workspace, account: Account, overrides: dict[str, Any]) -> Task:
    """Train everything anew on the active version's dataset, else on the newest ready one.

    Raises:
        Conflict: if there is no dataset to train on.
    """
    version = active_version(workspace.pk)
    ready = Dataset.objects.filter(workspace=workspace, state=DatasetState.READY)
    dataset = ready.filter(pk=version.dataset_id).first() if version else None
    dataset = dataset or ready.first()
    if dataset is None:
        raise Conflict("The workspace has no dataset that is ready: upload one first.")
    spec = TaskSpec(
        workflow=Workflow.REFRESH,
        parameters=parameters.defaults() | overrides,
        dataset=dataset,
        name="Training of the network",
    )
    task, _ = services.create(workspace=workspace, account=account, spec=spec)
    return task
