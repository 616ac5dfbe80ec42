"""What each run reads and writes, by the names that OpenLineage events give them."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field

from controlcenter.lineage import facts
from controlcenter.lineage.refs import DATASET, EVALUATION, GRAPH, PROFILES, Ref
from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import StageRun, Task
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.runs.models import RunStatus

MODEL, UPLOAD, LOG = "model", "upload", "event-log"
"""Names beside those of refs: the files a training left, a file as it was uploaded, the events."""

VALIDATION, SYNTHESIS = "validation", "synthesis"


@dataclass(frozen=True)
class Ports:
    """The names of what a run reads and of what it wrote."""

    inputs: list[Ref] = field(default_factory=list)
    outputs: list[Ref] = field(default_factory=list)


class Wiring:
    """Knows what the runs of some tasks read and wrote; a handful of queries for all of them."""

    def __init__(self, workspace_id: uuid.UUID, runs: Collection[StageRun]) -> None:
        tasks = {run.task_id for run in runs if run.task_id}
        bases = {run.task.base_version_id for run in runs if run.task and run.task.base_version_id}
        self.bases: dict[uuid.UUID | None, facts.Iteration] = {
            pk: (task, iteration)
            for pk, task, iteration in ModelVersion.objects.filter(
                workspace=workspace_id, pk__in=bases
            ).values_list("pk", "task_id", "iteration")
        }
        trained_by = tasks | {task for task, _ in self.bases.values()}
        self.base_graphs = facts.graphs_of(workspace_id, bases)
        self.derived = facts.derived_datasets(workspace_id, tasks)
        self.built = facts.finished_runs(workspace_id, states.BUILDING, tasks)
        self.trained = facts.finished_runs(workspace_id, states.TRAINING, trained_by)
        reports = EvaluationReport.objects.filter(task__workspace=workspace_id, task__in=tasks)
        self.reports: dict[facts.Iteration, uuid.UUID] = {
            (t, i): pk for pk, t, i in reports.values_list("pk", "task", "iteration")
        }

    def ports(self, run: StageRun) -> Ports:
        """What a run reads; what it wrote, once it is done. A stage that was taken over read what
        the earlier one wrote, and wrote nothing."""
        if run.task is None:
            inputs, outputs = self.of_subject(run)
        else:
            inputs, outputs = self.of_stage(run)
        if run.reuses_id is not None:
            return Ports(outputs)
        return Ports(inputs, outputs if run.status == RunStatus.DONE else [])

    def of_subject(self, run: StageRun) -> tuple[list[Ref], list[Ref]]:
        """What a run without a task reads, and what it writes."""
        if run.kind == VALIDATION:
            return named((UPLOAD, run.subject)), named((DATASET, run.subject))
        if run.kind == SYNTHESIS:
            return [], named((UPLOAD, run.subject))
        return [], []

    def of_stage(self, run: StageRun) -> tuple[list[Ref], list[Ref]]:
        """What the stage of a task reads, and what it writes."""
        assert run.task is not None
        key, output_run = (run.task.pk, run.iteration), run.reuses_id or run.pk
        if run.kind == states.OPTIMIZING:
            before = self.reports.get((run.task.pk, run.iteration - 1))
            inputs = named((DATASET, run.task.dataset_id), (EVALUATION, before))
            return inputs, named((DATASET, run.metrics.get("dataset")))
        if run.kind == states.BUILDING:
            return self.of_building(run), named((GRAPH, output_run))
        graph, model = self.graph(run), self.trained.get(key)
        if run.kind == states.TRAINING:
            base = self.base_model(run) if run.task.workflow == Workflow.FUSION else None
            return named((GRAPH, graph), (MODEL, base)), named((MODEL, output_run))
        model = model or self.base_model(run)
        if run.kind == states.EMBEDDING:
            version = run.metrics.get("version") if "users" in run.metrics else None
            scored = run.metrics.get("graph") or graph
            return named((GRAPH, scored), (MODEL, model)), named((PROFILES, version))
        read = named((GRAPH, graph), (MODEL, model))
        return read, named((EVALUATION, self.reports.get(key)))

    def of_building(self, run: StageRun) -> list[Ref]:
        """What a graph is built from: a dataset and the log, else the graph of the base version."""
        assert run.task is not None
        dataset = self.derived.get((run.task.pk, run.iteration)) or run.task.dataset_id
        log = run.workspace_id if run.metrics.get("events_of_the_log") else None
        if dataset is None:
            return named((GRAPH, self.base_graph(run.task)))
        return named((DATASET, dataset), (LOG, log))

    def graph(self, run: StageRun) -> uuid.UUID | None:
        """The building of the graph that an iteration works on."""
        assert run.task is not None
        own = self.built.get((run.task.pk, run.iteration))
        return own or self.base_graph(run.task)

    def base_graph(self, task: Task) -> uuid.UUID | None:
        """The building of the graph that the base version of a task was trained on."""
        return self.base_graphs.get(task.base_version_id) if task.base_version_id else None

    def base_model(self, run: StageRun) -> uuid.UUID | None:
        """The training that made the base version of the run's task."""
        assert run.task is not None
        iteration = self.bases.get(run.task.base_version_id)
        return self.trained.get(iteration) if iteration else None


def named(*pairs: tuple[str, object]) -> list[Ref]:
    """Refs of those that have an id."""
    return [Ref(kind, str(pk)) for kind, pk in pairs if pk is not None]
