"""The model versions that tasks make, and the one that a task starts from."""

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.registry.queries import active_version
from controlcenter.modelling.registry.services import Trained, VersionOrigin, register
from controlcenter.modelling.tasks import iterations
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.workflows import Workflow, needs_base
from controlcenter.modelling.tasks.working_data import working_dataset


def register_version(task: Task, trained: Trained) -> ModelVersion:
    """Make the version of a task's present iteration, in the transaction that ends its stage.

    Raises:
        LookupError: if neither the task nor its base version names a dataset.
    """
    working = working_dataset(task)
    dataset_id = working.pk if working else None
    if dataset_id is None and task.base_version is not None:
        dataset_id = task.base_version.dataset_id
    if dataset_id is None:
        raise LookupError(f"task {task.pk} names no dataset, nor does its base version")
    origin = VersionOrigin(
        workspace_id=task.workspace_id,
        task_id=task.pk,
        iteration=task.iteration,
        dataset_id=dataset_id,
        base=task.base_version if task.workflow == Workflow.FUSION else None,
        seed=task.parameters["seed"],
    )
    return register(origin, trained)


def versions_of(task_ids: Iterable[UUID]) -> dict[UUID, list[ModelVersion]]:
    """The versions that tasks made, oldest first."""
    versions: dict[UUID, list[ModelVersion]] = defaultdict(list)
    for version in ModelVersion.objects.filter(task_id__in=list(task_ids)).order_by("number"):
        versions[version.task_id].append(version)
    return versions


def kept_version(task: Task, versions: list[ModelVersion] | None = None) -> ModelVersion | None:
    """The version that a task left, of several the best; None if there is none.

    Args:
        versions: Those of the task, if they are known already.
    """
    if versions is None:
        versions = versions_of([task.pk])[task.pk]
    if len(versions) < 2:
        return versions[0] if versions else None
    top = iterations.best(iterations.scores(task))
    return next((v for v in versions if top and v.iteration == top.iteration), versions[-1])


def take_active_base(task: Task) -> None:
    """A locked task begins: where it names no base version, it starts from the active one.

    Not when it was made: a task before it in the queue may have made a newer version.
    """
    if needs_base(task.workflow, task.mode) and task.base_version_id is None:
        Task.objects.filter(pk=task.pk).update(base_version=active_version(task.workspace_id))
