"""Derived datasets: made by the stage ``optimizing``, and read by the iteration it was for."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now

from controlcenter.modelling.datasets.models import Dataset, DatasetState
from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Run, Task
from controlcenter.modelling.tasks.runs import Commit, finished
from controlcenter.platform.artifacts.store import Stored
from controlcenter.platform.audit.services import record
from controlcenter.platform.common.errors import Conflict

TABLES = ("users", "products", "apps", "events")
NAME_LENGTH = 180


def commit_derived(
    commit: Commit,
    *,
    source: Dataset,
    files: Sequence[tuple[Stored, str]],
    schema: dict[str, Any],
    schema_hash: str,
    steps: list[dict[str, Any]],
) -> Dataset:
    """Within a run's transaction: the derived dataset is there, ready for the task's next stage.

    Args:
        source: What it was made from; its row and its objects stay as they are.
        files: The tables as they were stored, with their names.
        steps: As ``ml.optimizing.steps.Step.to_dict`` gives them, one at least.
    """
    assert commit.task is not None
    # Locked, so that two derived datasets of one source get two numbers.
    source = Dataset.objects.select_for_update(of=("self",)).get(pk=source.pk)
    number = source.derived.count() + 1
    for stored, name in files:
        commit.artifact(stored, name)
    derived = Dataset.objects.create(
        workspace_id=commit.run.workspace_id,
        name=f"{source.name[:NAME_LENGTH]}, optimized {number}",
        filename="",
        state=DatasetState.READY,
        size=sum(stored.size for stored, _ in files),
        schema=schema,
        schema_hash=schema_hash,
        report=report_of(steps, task=commit.task),
        source=source,
        checked_run_id=commit.run.pk,
        checked_epoch=commit.claim.epoch,
        created_by=commit.task.created_by,
        validated_at=Now(),
    )
    details = {"source": str(source.pk), "task": str(commit.task.pk), "name": derived.name}
    record(
        account=commit.task.created_by,
        workspace=commit.run.workspace,
        action="dataset.derive",
        target=derived,
        details=details,
    )
    return derived


def report_of(steps: list[dict[str, Any]], *, task: Task) -> dict[str, Any]:
    """The quality report of a derived dataset: the steps, and their sums by table.

    For each table ``rows_read - rows_rejected + rows_added = rows_kept``.
    """
    tables = {}
    for name in TABLES:
        changes = [c for step in steps for c in step["changes"] if c["table"] == name]
        removed = [c for c in changes if c["what"] == "removed"]
        tables[name] = {
            "rows_read": steps[0]["before"][name],
            "rows_kept": steps[-1]["after"][name],
            "rows_rejected": sum(c["rows"] for c in removed),
            "rows_added": sum(c["rows"] for c in changes if c["what"] == "added"),
            "reasons": {c["reason"]: c["rows"] for c in removed},
        }
    names = ("rows_read", "rows_kept", "rows_rejected", "rows_added")
    sums = {name: sum(table[name] for table in tables.values()) for name in names}
    made_by = {"task": str(task.pk), "iteration": task.iteration}
    return {"tables": tables, **sums, "steps": steps, "made_by": made_by}


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


def tasks_in_need(dataset: Dataset) -> list[Task]:
    """Tasks that are not over and read this dataset: theirs, or derived by one of their runs."""
    need = Q(dataset=dataset)
    if dataset.checked_run_id is not None:
        runs = Run.objects.filter(Q(pk=dataset.checked_run_id) | Q(reuses=dataset.checked_run_id))
        need |= Q(pk__in=runs.values("task"))
    return list(Task.objects.filter(need, state__in=states.INCOMPLETE).order_by("created_at"))
