"""The stage that trains: a killed process is a lost attempt, and the next goes on."""

from contextlib import suppress
from dataclasses import replace
from signal import SIGKILL

import psutil
import pytest

from controlcenter.modelling.tasks import services, states
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.spec.parameters import defaults
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.runs.models import RunStatus
from ml.data.synthesis import SynthesisConfig, synthesize
from ml.fusion.targets import DAY
from ml.graph.graph import build_graph
from ml.hgt.model import EDGE_AGES
from ml.hgt.training.train import TrainingConfig, train
from ml.rules.rule_set import RuleSet, default_rules
from workers.runtime.runner import execute
from workers.stages.training import fit, learn, training_config

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def graph():
    return build_graph(synthesize(SynthesisConfig(users=120, events=3000, products=12, apps=6)))


@pytest.fixture
def task():
    workspace = Workspace.objects.create(slug="training", name="training")
    parameters = defaults() | {"processes": 2, "epochs": 1000, "seed": 3}
    task = Task.objects.create(
        workspace=workspace, workflow=Workflow.REFRESH, parameters=parameters
    )
    services.queue_first(task)
    return task


def ranks():
    """The processes that train, below this one."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            words = process.cmdline()
            if "ml.hgt.training.distributed" in words and "torch.distributed.run" not in words:
                found.append(process)
    return found


def test_parameters_become_a_config(task):
    config = training_config(task.parameters, "cpu")
    assert (config.processes, config.epochs, config.seed) == (2, 1000, 3)
    older = {name: value for name, value in task.parameters.items() if name != "processes"}
    assert training_config(older, "cpu").processes == 1
    assert (config.temporal, config.edge_ages) == (False, ())
    in_time = training_config(task.parameters | {"temporal": True}, "cpu")
    assert (in_time.temporal, in_time.edge_ages) == (True, EDGE_AGES)


def test_the_score_looks_as_far_into_the_future_as_it_is_told(task, graph):
    graph = replace(graph, labels=None)
    trained = train(graph, TrainingConfig(epochs=1))
    rules = RuleSet(default_rules(graph.schema), graph.schema)
    cut = graph.latest() - 20 * DAY
    task.parameters |= {"fusion_epochs": 1}
    for told, looked_at in [(2, 2.0), (3, 3.0), (30, 20.0)]:
        report = fit(graph, rules, trained, task, (cut, cut), told).report
        assert (report.target, report.horizon_days) == ("future behaviour", looked_at)


def test_a_killed_process_is_a_lost_attempt_and_the_next_goes_on(task, graph, monkeypatch):
    monkeypatch.setattr("workers.runtime.heartbeat.BEAT_SECONDS", 0.05)
    config = replace(training_config(task.parameters, "cpu"), batch_size=200)
    epochs = []

    def killing(execution):
        told = execution.progress

        def progress(share, message, **data):
            told(share, message, **data)
            epochs.append(data["epoch"])
            if len(epochs) == 1:
                ranks()[0].send_signal(SIGKILL)

        execution.progress = progress
        learn(execution, graph, config)

    def cancelled(execution):
        told = execution.progress

        def progress(share, message, **data):
            epochs.append(data["epoch"])
            services.cancel(task=task, account=None)
            told(share, message, **data)

        execution.progress = progress
        learn(execution, graph, config)

    def do(work):
        return execute(str(task.runs.get(status=RunStatus.QUEUED).pk), work)

    assert do(killing) == "let go"
    assert not ranks()
    lost = task.runs.get(status=RunStatus.LOST)
    assert "one of 2 training processes was killed" in lost.error
    following = task.runs.get(status=RunStatus.QUEUED)
    assert following.attempt == 2
    assert following.checkpoint is not None
    last = epochs[-1]
    assert do(cancelled) == "cancelled"
    assert epochs[-1] > last
    assert not ranks()
    assert Task.objects.get(pk=task.pk).state == states.CANCELLED
