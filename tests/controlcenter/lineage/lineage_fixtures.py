"""Tasks that run through the real protocol with workers that learn nothing, and a record of what
was made from what, kept beside the rows."""

import hashlib
import itertools
import uuid
from collections import defaultdict

from stored_reports import least_evaluation

from controlcenter.lineage.refs import Edge, ref
from controlcenter.modelling.datasets.deriving import commit_derived
from controlcenter.modelling.evaluations.services import record_report
from controlcenter.modelling.registry.models import ActiveVersion, ModelVersion
from controlcenter.modelling.registry.services import Trained
from controlcenter.modelling.rollouts.services import activate, rescore
from controlcenter.modelling.tasks import services
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.spec import parameters
from controlcenter.modelling.tasks.stages import outputs
from controlcenter.modelling.tasks.versions import register_version
from controlcenter.modelling.tasks.working_data import working_dataset
from controlcenter.platform.artifacts.store import Stored
from controlcenter.platform.runs import endings
from controlcenter.platform.runs.claims import claim
from controlcenter.platform.runs.commits import committing, reuse
from controlcenter.platform.runs.models import Run, RunStatus
from controlcenter.serving.profiles.models import Profile
from ml.contracts.reports.dataset import MadeBy, OptimizingStep
from ml.contracts.reports.evaluation import Evaluation
from ml.contracts.schema import TELECOM

STEP = {
    "name": "clean", "parameters": {}, "because": "", "changes": [],
    "before": {"users": 5, "products": 2, "apps": 1, "events": 9},
    "after": {"users": 4, "products": 2, "apps": 1, "events": 6},
}  # fmt: skip
SUGGESTION = {
    "action": "augment", "automatic": True, "edge_type": "user-orders-product", "factor": 2,
    "because": "x", "evidence": {},
}  # fmt: skip


class History:
    """What happens in one workspace, and what was made from what, as told when it happened.

    Attributes:
        edges: All edges there should be but those into profiles.
        graph_of: The graph that each version was trained on.
        scored: The graph that the profiles of each version were last made from.
    """

    def __init__(self, workspace, account):
        self.workspace, self.account = workspace, account
        self.names = itertools.count()
        self.edges = set()
        self.graph_of, self.scored, self.present = {}, {}, None
        for number in range(3):
            Profile.objects.create(workspace=workspace, user_id=f"u{number}")

    def task(self, workflow, dataset=None, base=None, **told):
        spec = services.TaskSpec(
            workflow=workflow,
            parameters=parameters.defaults() | told,
            dataset=dataset,
            base_version=base,
        )
        task, _ = services.create(workspace=self.workspace, account=self.account, spec=spec)
        return task

    def rescore(self, version):
        return self.run(rescore(self.workspace, self.account, version, "again"))

    def run(self, task, fail=None, lose=None, best=True):
        """Do all that is queued of a task, or until it fails.

        Args:
            fail, lose: The stage to fail at, or to lose the first attempt at.
            best: Whether an iteration after the first beats those before it.
        """
        while (run := task.runs.filter(status=RunStatus.QUEUED).first()) is not None:
            Run.objects.filter(pk=run.pk).update(available_at=run.created_at)
            held = claim(run.pk, worker="test")
            assert held is not None, (run, task.state)
            if held.reuses is not None:
                reuse(held)
            elif held.kind == fail:
                endings.fail(held, sentence="It broke.")
            elif held.kind == lose:
                lose = None
                endings.retry_later(held, reason="The store was away.")
            else:
                getattr(self, held.kind)(held, Task.objects.get(pk=task.pk), best=best)
        return Task.objects.get(pk=task.pk)

    def put(self, held, name):
        digest = hashlib.sha256(f"{next(self.names)}".encode()).hexdigest()
        return Stored(f"{held.prefix}/{name}", 10, digest)

    def optimizing(self, held, task, best):
        source = task.dataset
        with committing(held) as commit:
            derived = commit_derived(
                commit,
                source=source,
                files=[
                    (self.put(held, f"{n}.parquet"), f"{n}.parquet") for n in ("users", "events")
                ],
                schema=TELECOM.to_dict(),
                schema_hash=TELECOM.hash,
                steps=[OptimizingStep.from_dict(STEP)],
                made_by=MadeBy(task=str(task.pk), iteration=task.iteration),
                account=task.created_by,
            )
            commit.metrics = {"dataset": str(derived.pk), "actions": []}
        self.add("dataset", source.pk, "dataset", derived.pk, "optimized")
        if task.iteration:
            report = task.evaluations.get(iteration=task.iteration - 1)
            self.add("evaluation", report.pk, "dataset", derived.pk, "suggested")

    def building(self, held, task, best):
        working = working_dataset(task)
        with committing(held) as commit:
            for name in ("graph/nodes.parquet", "counts.parquet"):
                commit.artifact(self.put(held, name), name)
            commit.metrics = {
                "nodes": {"user": 4, "app": 1}, "events": 6, "events_of_the_log": 2,
            }  # fmt: skip
        if working is not None:
            self.add("dataset", working.pk, "graph", held.run_id, "built")
        else:
            base = self.graph_of[task.base_version_id]
            self.add("graph", base, "graph", held.run_id, "taken over")

    def graph_files(self, task):
        if task.workflow == "fusion":
            return list(task.base_version.graph_files.all())
        return outputs(task, "building")

    def training(self, held, task, best):
        with committing(held) as commit:
            for name in ("model/weights", "version.json"):
                commit.artifact(self.put(held, name), name)
            commit.metrics = {"links": {}}

    def embedding(self, held, task, best):
        trains = task.mode == "full_retrain"
        files = self.graph_files(task)
        (graph,) = {file.run_id for file in files}
        scored = self.present if task.workflow == "fusion" and self.present else graph
        first = not ModelVersion.objects.filter(task_id=task.pk).exists()
        with committing(held) as commit:
            version = task.base_version
            if trains:
                version = register_version(task, self.trained(outputs(task, "training"), files))
                self.graph_of[version.pk] = graph
            commit.metrics = {"version": str(version.pk), "kept": False}
            if first or best:
                activate(version, actor="worker", reason="test")
                users = Profile.objects.filter(workspace=self.workspace)
                users.update(model_version=version)
                commit.metrics = {
                    "version": str(version.pk), "users": users.count(), "graph": str(scored),
                }  # fmt: skip
                self.scored[version.pk] = self.present = scored
        if trains and task.workflow == "fusion":
            self.add("version", task.base_version_id, "version", version.pk, "fused")
        elif trains:
            self.add("graph", graph, "version", version.pk, "trained")

    def evaluating(self, held, task, best):
        version = ModelVersion.objects.filter(task_id=task.pk).get(iteration=held.iteration)
        metrics = {"links.mrr": 0.1 * held.iteration}
        with committing(held) as commit:
            told = {"metrics": metrics, "suggestions": [SUGGESTION]}
            whole = Evaluation.from_dict(least_evaluation(**told))
            report = record_report(commit, report=whole, version_id=version.pk)
            commit.metrics = told
        self.add("version", version.pk, "evaluation", report.pk, "evaluated")

    def trained(self, files, graph_files):
        return Trained(
            version_id=uuid.uuid4(), schema=TELECOM.to_dict(), schema_hash=TELECOM.hash,
            rule_revision=1, rules=[], rules_sitting_out={}, metrics={}, code_version="abc123",
            files=files, graph_files=graph_files,
        )  # fmt: skip

    def add(self, kind, source, target_kind, target, how):
        self.edges.add(Edge(ref(kind, source), ref(target_kind, target), how))

    def all_edges(self):
        """Those of the profiles too, as they stand now."""
        found = set(self.edges)
        for version, graph in self.scored.items():
            profiles = ref("profiles", version)
            found.add(Edge(ref("version", version), profiles, "scored"))
            if graph != self.graph_of[version]:
                found.add(Edge(ref("graph", graph), profiles, "scored"))
        return found


def reached(edges, starts, *, up):
    """What can be reached from some things, by walking the edges one at a time."""
    following = defaultdict(set)
    for edge in edges:
        if up:
            following[edge.target].add(edge.source)
        else:
            following[edge.source].add(edge.target)
    found, front = set(starts), set(starts)
    while front:
        front = {two for one in front for two in following[one]} - found
        found |= front
    return found


def active(workspace):
    pointer = ActiveVersion.objects.filter(workspace=workspace).first()
    return pointer.version if pointer else None


def version_of(task, iteration=0):
    return ModelVersion.objects.get(task_id=task.pk, iteration=iteration)
