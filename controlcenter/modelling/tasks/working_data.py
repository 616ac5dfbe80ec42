"""Which dataset an iteration of a task reads, and which datasets tasks still need."""

from django.db.models import Q

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import StageRun, Task
from controlcenter.modelling.tasks.stages import finished
from controlcenter.platform.common.errors import Conflict


def working_dataset(task: Task) -> Dataset | None:
    """What the task's present iteration works on: its derived dataset, else the task's own.

    Raises:
        Conflict: if the derived dataset was deleted.
    """
    run = finished(task.pk, task.iteration, states.OPTIMIZING)
    if run is None:
        return task.dataset
    derived = Dataset.objects.filter(checked_run_id=run.pk).first()
    if derived is None:
        raise Conflict(
            f"The dataset that iteration {task.iteration} of task {task.pk} derived was deleted: "
            "create the task again."
        )
    return derived


def refuse_if_needed(dataset: Dataset) -> None:
    """A locked dataset is to be deleted.

    Raises:
        Conflict: if a task that is not over reads it: the task's own, or derived by one of its
            runs.
    """
    need = Q(dataset=dataset)
    if dataset.checked_run_id is not None:
        runs = StageRun.objects.filter(
            Q(pk=dataset.checked_run_id) | Q(reuses=dataset.checked_run_id)
        )
        need |= Q(pk__in=runs.values("task"))
    tasks = Task.objects.filter(need, state__in=states.INCOMPLETE).order_by("created_at")
    if tasks:
        names = ", ".join(str(task.pk) for task in tasks[:5])
        raise Conflict(f"Dataset {dataset.name!r} is needed by task {names}: cancel it first.")
