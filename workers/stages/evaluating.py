"""Evaluate what was trained: the long report, with worst cases and suggestions."""

from collections.abc import Mapping

import polars as pl

from controlcenter.modelling.evaluations.services import record_report
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.runs.commits import Commit
from ml.bundle import ModelBundle
from ml.contracts.reports.evaluation import Evaluation
from ml.contracts.schema import EdgeKey
from ml.evaluation.answers import OtherData
from ml.evaluation.long_report import long_report
from ml.evaluation.metrics import Scorer
from ml.fusion.facts import user_facts
from ml.graph.graph import Graph
from ml.graph.splits import Split, before, split_graph
from ml.hgt.model import embed
from workers.files import Graphs, built_files, fetch, load_graphs, load_model, trained_files
from workers.runtime.device import for_task
from workers.runtime.errors import PermanentError
from workers.runtime.execution import Execution
from workers.version_record import VersionRecord

FUTURE = "future behaviour"


def work(execution: Execution) -> None:
    """The stage ``evaluating``: model and graph → a report and suggestions."""
    task = Task.objects.select_related("base_version", "workspace").get(pk=execution.claim.owner_id)
    execution.progress(0.0, "fetching model and graph")
    built = fetch(execution, built_files(task), "in")
    folder = fetch(execution, trained_files(task), "model")
    graphs = load_graphs(built)
    model = load_model(folder, for_task(task.parameters["device"]))
    version = VersionRecord.load(folder).id_for(task)
    report = report_on(execution, model, graphs)

    def effect(commit: Commit) -> None:
        record_report(commit, report=report, version_id=version)
        commit.metrics = {
            "metrics": report.metrics,
            "suggestions": [suggestion.to_dict() for suggestion in report.suggestions],
        }

    execution.commit(effect)


def report_on(execution: Execution, model: ModelBundle, graphs: Graphs) -> Evaluation:
    """The report of a model on the graphs that it was made of.

    Raises:
        PermanentError: if the graph to train on is another one.
    """
    seed = int(model.training["seed"])
    split = split_graph(graphs.training, seed=seed)
    execution.progress(0.1, f"embedding {sum(graphs.training.num_nodes.values())} nodes")
    scorers = scorers_of(model, split)
    execution.progress(0.2, "looking up what was known of the users")
    facts = facts_of(model, graphs.whole)
    try:
        return long_report(
            split, scorers, model.metrics, model.held_out, facts, seed=seed,
            on_progress=lambda share, message: execution.progress(0.3 + 0.65 * share, message),
        )  # fmt: skip
    except OtherData as error:
        raise PermanentError(f"Evaluating is not possible: {error}.") from error


def scorers_of(model: ModelBundle, split: Split) -> Mapping[EdgeKey, Scorer]:
    """Scores of links by edge type, from what was known at the test cut."""
    late = embed(model.model, model.encoder, split.observed)
    return {
        edge.key: model.decoder.scorer(edge, split.observed, late)
        for edge in split.observed.schema.edges
    }


def facts_of(model: ModelBundle, graph: Graph) -> pl.DataFrame:
    """What was known of the users when they were scored."""
    foretells = model.metrics.score.target == FUTURE
    visible = before(graph, model.cuts[1]) if foretells and model.cuts is not None else graph
    return user_facts(visible, model.profile.rule_set)
