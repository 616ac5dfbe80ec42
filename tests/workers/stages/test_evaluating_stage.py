"""The stage that evaluates: graph and model of the task become a report, once."""

import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from waiting import wait_until

from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.tasks import services, states
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.spec.parameters import defaults
from controlcenter.modelling.tasks.stages import queue_stage
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.artifacts.services import record
from controlcenter.platform.artifacts.store import store
from controlcenter.platform.runs.models import Run, RunStatus
from ml.bundle import ModelBundle, save_bundle
from ml.contracts.reports.version import VersionMetrics
from ml.data.synthesis import SynthesisConfig, synthesize
from ml.fusion.facts import user_facts
from ml.fusion.fitting import fit_profile
from ml.fusion.fusion import FusionConfig
from ml.graph.graph import Graph, build_graph
from ml.graph.splits import before, split_graph
from ml.graph.storage import save_graph
from ml.hgt.heldout import evaluate_links
from ml.hgt.model import embed
from ml.hgt.training.train import TrainingConfig, train
from ml.rules.rule_set import RuleSet, default_rules
from workers.files import GRAPH, MODEL
from workers.runtime.runner import execute
from workers.stages import evaluating
from workers.stages.evaluating import facts_of
from workers.version_record import VersionRecord

pytestmark = pytest.mark.django_db(transaction=True)
SEED = 5


def model_of(graph: Graph) -> ModelBundle:
    """What the training leaves, of one epoch."""
    split = split_graph(graph, seed=SEED)
    config = TrainingConfig(epochs=1, seed=SEED)
    trained = train(split.train, config)
    links = evaluate_links(trained, split, seed=SEED)
    rules = RuleSet(default_rules(graph.schema), graph.schema)
    fitted = fit_profile(
        graph, rules, lambda part: embed(trained.model, trained.encoder, part)["user"],
        FusionConfig(epochs=3, folds=2, seed=SEED), cut=split.cuts[1],
    )  # fmt: skip
    return ModelBundle(
        model=trained.model, encoder=trained.encoder, decoder=links.decoder, profile=fitted.model,
        background=fitted.background, training=config.to_dict(), cuts=split.cuts,
        metrics=VersionMetrics(links=links.report, score=fitted.report), data_hash="ab" * 32,
        held_out=fitted.held_out,
    )  # fmt: skip


@pytest.fixture(scope="module")
def graph():
    return build_graph(synthesize(SynthesisConfig(users=200, events=5000, products=30, apps=10)))


@pytest.fixture(scope="module")
def model(graph):
    return model_of(graph)


@pytest.fixture(scope="module")
def files(graph, model, tmp_path_factory):
    """The folders that building and training leave."""
    folder = tmp_path_factory.mktemp("files")
    save_graph(graph, folder / states.BUILDING / GRAPH)
    save_bundle(model, folder / states.TRAINING / MODEL)
    record = VersionRecord(
        version_id=str(uuid.uuid4()), rule_revision=0, rules=[], rules_sitting_out={},
        code_version="1",
    )  # fmt: skip
    record.save(folder / states.TRAINING)
    return folder


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setattr("workers.runtime.heartbeat.BEAT_SECONDS", 0.05)
    workspace = Workspace.objects.create(slug="evaluating", name="evaluating")
    return Task.objects.create(
        workspace=workspace, workflow="standard", parameters=defaults() | {"seed": SEED},
        state=states.EVALUATING,
    )  # fmt: skip


def done(task: Task, kind: str, folder: Path) -> None:
    """A finished stage with the files of a folder."""
    run = Run.objects.create(
        workspace=task.workspace, owner_id=task.pk, kind=kind, queue="refresh",
        status=RunStatus.DONE, epoch=1, iteration=task.iteration,
    )  # fmt: skip
    for path in folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            stored = store().put_path(f"tasks/{task.pk}/it{task.iteration}/{kind}/e1/{name}", path)
            record(workspace=task.workspace, stored=stored, name=name, run_id=run.pk, epoch=1)


@pytest.fixture
def run(task, files):
    for kind in (states.BUILDING, states.TRAINING):
        done(task, kind, files / kind)
    return queue_stage(task, states.EVALUATING)


def test_the_report_is_committed_with_the_run(run, task, model):
    assert execute(str(run.pk), evaluating.work) == "done"
    report = EvaluationReport.objects.get(task=task)
    assert (report.iteration, report.model_version) == (0, None)
    mean = model.metrics.links.mean.model.mrr
    assert report.metrics["links.mrr"] == pytest.approx(mean)
    assert report.metrics["score.auc"] == pytest.approx(model.metrics.score.auc)
    assert report.report["notes"] == []
    assert report.report["worst"]["users"]
    assert len(report.report["worst"]["links"]) == 5 * len(model.schema.edges)
    run.refresh_from_db()
    assert run.metrics == {
        "metrics": report.metrics,
        "suggestions": report.report["suggestions"],
    }
    assert Task.objects.get(pk=task.pk).state == states.COMPLETED


def test_the_same_input_gives_the_same_report_in_another_task(run, task, files):
    execute(str(run.pk), evaluating.work)
    again = Task.objects.create(
        workspace=task.workspace, workflow="standard", parameters=task.parameters,
        state=states.EVALUATING, iteration=3,
    )  # fmt: skip
    for kind in (states.BUILDING, states.TRAINING):
        done(again, kind, files / kind)
    queued = queue_stage(again, states.EVALUATING)
    execute(str(queued.pk), evaluating.work)
    one, two = EvaluationReport.objects.order_by("iteration")
    assert (one.iteration, two.iteration) == (0, 3)
    assert (one.metrics, one.report) == (two.metrics, two.report)


def test_a_cancel_in_between_leaves_no_report(run, task):
    def cancelled(execution):
        told = execution.progress
        messages = []

        def progress(share, message, **data):
            messages.append(message)
            if len(messages) == 4:
                services.cancel(task=task, account=None)
                wait_until(execution._heartbeat.should_stop)
            told(share, message, **data)

        execution.progress = progress
        evaluating.work(execution)

    assert execute(str(run.pk), cancelled) == "cancelled"
    assert not EvaluationReport.objects.exists()
    assert Task.objects.get(pk=task.pk).state == states.CANCELLED


def test_progress_only_rises_and_names_what_is_done(run):
    shares, messages = [], []

    def watched(execution):
        told = execution.progress

        def progress(share, message, **data):
            shares.append(share)
            messages.append(message)
            told(share, message, **data)

        execution.progress = progress
        evaluating.work(execution)

    assert execute(str(run.pk), watched) == "done"
    assert shares == sorted(shares)
    assert shares[-1] < 1
    assert "asking for held-out links of user-orders-product" in messages


def test_another_graph_than_the_one_trained_on_is_a_fault(task, files, tmp_path):
    other = build_graph(synthesize(SynthesisConfig(users=90, events=900, seed=9)))
    save_graph(other, tmp_path / GRAPH)
    done(task, states.BUILDING, tmp_path)
    done(task, states.TRAINING, files / states.TRAINING)
    run = queue_stage(task, states.EVALUATING)
    assert execute(str(run.pk), evaluating.work) == "failed"
    run.refresh_from_db()
    assert run.error.startswith("Evaluating is not possible: user-calls-user has ")
    assert run.error.endswith("evaluate it on the graph it was trained on.")
    assert run.traceback == ""
    assert not EvaluationReport.objects.exists()


def test_a_stage_that_ran_twice_reports_once(run, task):
    """The second attempt finds its run taken and leaves everything as it is."""
    assert execute(str(run.pk), evaluating.work) == "done"
    kept = EvaluationReport.objects.get(task=task)
    assert execute(str(run.pk), evaluating.work) == "dropped"
    assert EvaluationReport.objects.get(task=task).created_at == kept.created_at


def test_facts_are_of_the_time_of_the_score(graph, model):
    score = structs.replace(model.metrics.score, target="future behaviour")
    foretells = structs.replace(model.metrics, score=score)
    early = facts_of(replace(model, metrics=foretells), graph)
    assert early.equals(user_facts(before(graph, model.cuts[1]), model.profile.rule_set))
    late = facts_of(model, graph)
    assert (late["edges"].to_numpy() >= early["edges"].to_numpy()).all()
    assert np.any(late["edges"].to_numpy() > early["edges"].to_numpy())
