"""Make the derived dataset that an iteration of a task works on."""

from pathlib import Path
from typing import Any

from controlcenter.modelling.datasets.deriving import commit_derived
from controlcenter.modelling.datasets.services import checked_tables
from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.stages import finished, task_of
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.services import fetch_all
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.runs.commits import Commit
from controlcenter.platform.runs.models import Run, RunStatus
from ml.contracts.reports.dataset import MadeBy
from ml.contracts.schema import GraphSchema
from ml.data.frames import load_tables, save_tables
from ml.graph.splits import Split, split_graph
from ml.optimizing.actions import ActionError, parse
from ml.optimizing.optimization import optimize
from workers.files import load_training_graph
from workers.runtime.errors import PermanentError
from workers.runtime.execution import Execution
from workers.runtime.retries import STORE_PATIENCE

Action = dict[str, Any]


def work(execution: Execution) -> None:
    """The stage ``optimizing``: the task's dataset and suggestions → a derived dataset."""
    task = Task.objects.select_related("dataset").get(pk=execution.claim.owner_id)
    source = task.dataset
    if source is None:
        raise PermanentError("The task has no dataset to optimize: create one that names it.")
    execution.progress(0.05, "fetching the checked tables")
    try:
        files = checked_tables(source)
    except Conflict as error:
        raise PermanentError(str(error)) from error
    tables = load_tables(fetch_all(files, execution.folder / "in", patience=STORE_PATIENCE))
    actions = actions_for(task, tables.schema)
    split = split_before(execution, task) if actions else None
    # Not the present: each iteration must clean alike, or what is held out would change.
    now = source.validated_at or task.created_at
    derived, steps = optimize(
        tables,
        actions,
        task.parameters["seed"],
        now=now,
        split=split,
        progress=lambda share, message: execution.progress(0.3 + 0.5 * share, message),
    )
    execution.progress(0.8, "storing the derived tables")
    out = execution.folder / "out"
    save_tables(derived, out)
    stored = execution.put_folder(out)

    def effect(commit: Commit) -> None:
        dataset = commit_derived(
            commit,
            source=source,
            files=stored,
            schema=derived.schema.to_dict(),
            schema_hash=derived.schema.hash,
            steps=steps,
            made_by=MadeBy(task=str(task.pk), iteration=task.iteration),
            account=task_of(commit).created_by,
        )
        commit.metrics = {
            "dataset": str(dataset.pk),
            "actions": actions,
            "before": steps[0].before,
            "after": steps[-1].after,
        }

    execution.commit(effect)


def actions_for(task: Task, schema: GraphSchema) -> list[Action]:
    """What an iteration carries out: what the one before it did, and its suggestions.

    Each derived dataset is made from the raw one, so what helped is done again. A new suggestion
    takes the place of an older one for the same edge type.

    Raises:
        PermanentError: if one of them cannot be carried out.
    """
    actions = {key_of(action): action for action in [*done_before(task), *suggestions_for(task)]}
    try:
        for action in actions.values():
            parse(action, schema)
    except ActionError as error:
        raise PermanentError(f"A suggestion cannot be carried out: {error}.") from error
    return list(actions.values())


def key_of(action: Action) -> tuple[str, str]:
    return str(action.get("action")), str(action.get("edge_type"))


def done_before(task: Task) -> list[Action]:
    """The actions that the iteration before this one carried out."""
    run = finished(task.pk, task.iteration - 1, states.OPTIMIZING) if task.iteration else None
    return list(run.metrics["actions"]) if run else []


def suggestions_for(task: Task) -> list[Action]:
    """What the evaluation of the iteration before suggests to this stage, not to people."""
    if not task.iteration:
        return []
    evaluated = Run.objects.filter(
        owner_id=task.pk,
        iteration=task.iteration - 1,
        kind=states.EVALUATING,
        status=RunStatus.DONE,
    )
    suggestions: list[Action] = [
        suggestion for metrics in evaluated.values_list("metrics", flat=True)
        for suggestion in metrics.get("suggestions", [])
    ]  # fmt: skip
    return [suggestion for suggestion in suggestions if suggestion.get("automatic", True)]


def split_before(execution: Execution, task: Task) -> Split:
    """The split that the iteration before was trained and measured with, and this one will be.

    Its graph has no added events, the same cleaned data, and the same part of the event log.

    Raises:
        PermanentError: if that graph is gone.
    """
    built = finished(task.pk, task.iteration - 1, states.BUILDING)
    if built is None:
        raise PermanentError(
            f"Iteration {task.iteration - 1} built no graph: create the task again."
        )
    files = Artifact.objects.filter(run_id=built.pk, epoch=built.epoch)
    folder: Path = fetch_all(files, execution.folder / "before", patience=STORE_PATIENCE)
    return split_graph(load_training_graph(folder), seed=task.parameters["seed"])
