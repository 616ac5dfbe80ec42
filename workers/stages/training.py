"""Train encoders, network and fusion jointly, or the fusion alone; measure on held-out data."""

import hashlib
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from msgspec import structs

from controlcenter.modelling.rules.queries import applicable, current_revision
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.common.code_version import code_version
from controlcenter.platform.runs.commits import Commit
from ml.bundle import ModelBundle, save_bundle
from ml.contracts.reports.version import EpochLoss, VersionMetrics
from ml.fusion.fitting import FittedProfile, check_users, fit_profile
from ml.fusion.fusion import FusionConfig
from ml.fusion.targets import HORIZON_DAYS
from ml.graph.graph import Graph
from ml.graph.splits import split_graph
from ml.hgt.heldout import evaluate_links
from ml.hgt.model import EDGE_AGES, embed
from ml.hgt.training.checkpoint import Progress
from ml.hgt.training.process_group import ProcessLost
from ml.hgt.training.train import Stopped, TrainedModel, TrainingConfig, train
from ml.rules.rule_set import RuleSet
from workers.files import (
    MODEL,
    Graphs,
    built_files,
    fetch,
    learning_graph,
    load_graphs,
    load_model,
)
from workers.runtime.device import for_task
from workers.runtime.errors import PermanentError, RetryableError
from workers.runtime.execution import Execution
from workers.version_record import VersionRecord

Cuts: TypeAlias = tuple[int, int] | None
TRAINED_SHARE = 0.7


def work(execution: Execution) -> None:
    """The stage ``training``: graph and rules → a model version's files and metrics."""
    task = Task.objects.select_related("base_version", "workspace").get(pk=execution.claim.owner_id)
    execution.progress(0.0, "fetching the graph")
    built = fetch(execution, built_files(task), "in")
    fuses = task.workflow == Workflow.FUSION
    graphs = load_graphs(built, sampled=not fuses)
    try:
        check_users(graphs.training)
    except ValueError as error:
        raise PermanentError(f"Training is not possible: {error}.") from error
    device = for_task(task.parameters["device"])
    rules, record = rules_of(task.workspace, graphs.whole)
    begin = time.monotonic()
    if fuses:
        artifact = fuse_anew(execution, task, graphs.whole, rules, device)
    else:
        artifact = train_all(execution, task, graphs, built, rules, device)
    lineage = {
        "task": str(task.pk),
        "seed": task.parameters["seed"],
        "code_version": code_version(),
        "device": device,
        "seconds": round(time.monotonic() - begin, 3),
    }
    artifact = replace(
        artifact, rule_revision=record.rule_revision, lineage=lineage, data_hash=hash_of(task)
    )
    execution.progress(0.97, "storing the model")
    out = execution.folder / "out"
    save_bundle(artifact, out / MODEL)
    record.save(out)
    files = execution.put_folder(out)
    metrics = artifact.metrics.to_dict()

    def effect(commit: Commit) -> None:
        for stored, name in files:
            commit.artifact(stored, name)
        commit.metrics = metrics
        current = Task.objects.get(pk=task.pk).metrics
        Task.objects.filter(pk=task.pk).update(metrics={**current, **metrics})

    execution.commit(effect)


def rules_of(workspace: Workspace, graph: Graph) -> tuple[RuleSet, VersionRecord]:
    """The present rules that the graph's schema can run, and the record of a version with them."""
    revision = current_revision(workspace)
    usable, sitting_out = applicable(revision.rules if revision else [], graph.schema)
    record = VersionRecord(
        version_id=str(uuid.uuid4()),
        rule_revision=revision.revision if revision else 0,
        rules=[vars(rule) for rule in usable],
        rules_sitting_out=sitting_out,
        code_version=code_version(),
    )
    return RuleSet(usable, graph.schema), record


def training_config(parameters: dict[str, Any], device: str) -> TrainingConfig:
    """The task's parameters over the defaults of the network."""
    options = {
        name: parameters[name]
        for name in ("epochs", "learning_rate", "temperature", "seed")
        if parameters.get(name) is not None
    }
    if parameters.get("temporal"):
        options |= {"temporal": True, "edge_ages": EDGE_AGES}
    return TrainingConfig(**options, device=device, processes=parameters.get("processes", 1))


def fusion_config(parameters: dict[str, Any]) -> FusionConfig:
    """The task's parameters over the defaults of the fusion."""
    epochs = parameters.get("fusion_epochs")
    options = {"epochs": epochs} if epochs is not None else {}
    return FusionConfig(**options, seed=parameters["seed"])


def train_all(
    execution: Execution, task: Task, graphs: Graphs, built: Path, rules: RuleSet, device: str
) -> ModelBundle:
    config = training_config(task.parameters, device)
    if config.temporal and not graphs.training.has_times:
        raise PermanentError(
            "temporal learns from the times of events, and the graph has none: leave it out."
        )
    split = split_graph(graphs.training, seed=config.seed)
    learned_from = learning_graph(split, built, temporal=config.temporal)
    trained = learn(execution, learned_from, config)
    execution.progress(TRAINED_SHARE, "measuring held-out links")
    links = evaluate_links(trained, split, seed=config.seed)
    execution.progress(0.85, "fusing rules and embedding")
    horizon_days = task.parameters.get("horizon_days", HORIZON_DAYS)
    fitted = fit(graphs.whole, rules, trained, task, split.cuts, horizon_days)
    losses = [
        EpochLoss(epoch=p.epoch, loss=p.loss, by_edge_type=p.losses_by_edge_type)
        for p in trained.history
    ]
    metrics = VersionMetrics(links=links.report, score=fitted.report, losses=losses)
    return ModelBundle(
        model=trained.model,
        encoder=trained.encoder,
        decoder=links.decoder,
        profile=fitted.model,
        background=fitted.background,
        training=config.to_dict(),
        cuts=split.cuts,
        metrics=metrics,
        data_hash="",
        held_out=fitted.held_out,
        now=graphs.whole.latest(),
        horizon_days=horizon_days,
    )


def learn(execution: Execution, graph: Graph, config: TrainingConfig) -> TrainedModel:
    """Train from the last checkpoint, if there is one; every epoch is told and kept.

    Raises:
        RetryableError: if a process of several was killed: another attempt goes on from the
            checkpoint.
    """

    def on_progress(progress: Progress) -> None:
        execution.progress(
            progress.share * TRAINED_SHARE,
            f"epoch {progress.epoch} of {progress.epochs}, loss {progress.loss:.4f}",
            epoch=progress.epoch,
            epochs=progress.epochs,
            loss=progress.loss,
            losses=progress.losses_by_edge_type,
        )

    try:
        with execution.uninterrupted():
            return train(
                graph,
                config,
                checkpoint=execution.load_checkpoint(),
                on_progress=on_progress,
                save_checkpoint=execution.save_checkpoint,
                should_stop=execution.should_stop,
            )
    except Stopped:
        execution.check()
        raise
    except ProcessLost as error:
        raise RetryableError(f"{error}.") from error


def fit(
    graph: Graph,
    rules: RuleSet,
    learned: TrainedModel | ModelBundle,
    task: Task,
    cuts: Cuts,
    horizon_days: int,
) -> FittedProfile:
    return fit_profile(
        graph,
        rules,
        lambda part: embed(learned.model, learned.encoder, part)["user"],
        fusion_config(task.parameters),
        cut=cuts[1] if cuts else None,
        horizon_days=horizon_days,
    )


def fuse_anew(
    execution: Execution, task: Task, graph: Graph, rules: RuleSet, device: str
) -> ModelBundle:
    """The base version's network with a new fusion of the present rules, of the same horizon unless
    the task names another one."""
    assert task.base_version is not None
    folder = fetch(execution, list(task.base_version.files.all()), "base")
    base = load_model(folder, device)
    execution.progress(0.3, "fusing rules and embedding")
    horizon_days = task.parameters.get("horizon_days", base.horizon_days)
    fitted = fit(graph, rules, base, task, base.cuts, horizon_days)
    metrics = structs.replace(base.metrics, score=fitted.report)
    return replace(
        base, profile=fitted.model, background=fitted.background, metrics=metrics,
        held_out=fitted.held_out, now=graph.latest(), horizon_days=horizon_days,
    )  # fmt: skip


def hash_of(task: Task) -> str:
    """SHA-256 over the files that the graph was loaded from."""
    digest = hashlib.sha256()
    for artifact in sorted(built_files(task), key=lambda file: file.name):
        digest.update(f"{artifact.name} {artifact.sha256}\n".encode())
    return digest.hexdigest()
