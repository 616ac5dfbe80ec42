"""Workspaces, datasets and tasks for the chaos, and what a task has left as data to compare."""

import hashlib
import io
import json
import uuid
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from minio.commonconfig import CopySource

from controlcenter.modelling.datasets import services as datasets
from controlcenter.modelling.datasets.models import Dataset, DatasetState
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks import services, states
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.spec.parameters import defaults
from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.accounts.services import create_workspace
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.store import store
from controlcenter.platform.runs.models import Run, RunStatus
from controlcenter.serving.profiles.models import Profile
from ml.contracts.schema import TELECOM
from tests.chaos.scripted import digest_after
from tests.chaos.system import until

SYNTHESIS = {"users": 60, "events": 1500, "products": 8, "apps": 5, "seed": 3}
QUICK = {"epochs": 3, "fusion_epochs": 5}
WITH_IDS_OR_TIMES = {"log.json", "version.json", "model/config.json", "model/manifest.json"}
"""Artifacts that hold ids or times, and so differ between two tasks of equal effect."""

PROFILE = (
    "user_id", "attributes", "label", "base_counts", "scored_counts", "call_peers", "embedding",
    "rule_hits", "rule_score", "model_score", "gate", "final_score", "score_basis",
    "recommendations", "rule_revision",
)  # fmt: skip


@cache
def owner() -> Account:
    return Account.objects.create_user("chaos")


def new_workspace() -> Workspace:
    slug = f"w{uuid.uuid4().hex[:12]}"
    return create_workspace(slug=slug, name=slug, owner=owner())


@cache
def small_dataset() -> Dataset:
    """A tiny population, generated and checked by the system's workers."""
    made = datasets.synthesize(
        workspace=new_workspace(), account=owner(), name="small", config=SYNTHESIS
    )
    mine = Dataset.objects.filter(pk=made.pk)
    until(lambda: mine.filter(state=DatasetState.READY).exists(), "the dataset is ready")
    return mine.get()


def copy_dataset(dataset: Dataset, workspace: Workspace) -> Dataset:
    """The same checked tables, to the byte, in another workspace."""
    run_id, client = uuid.uuid4(), store()
    for table in datasets.checked_tables(dataset):
        key = f"datasets/{workspace.pk}/{run_id}/{table.name}"
        client.client.copy_object(client.bucket, key, CopySource(client.bucket, table.key))
        Artifact.objects.create(
            workspace=workspace, key=key, name=table.name, size=table.size, sha256=table.sha256,
            run_id=run_id, epoch=0,
        )  # fmt: skip
    return Dataset.objects.create(
        workspace=workspace, name=dataset.name, filename=dataset.filename, state=dataset.state,
        schema=dataset.schema, schema_hash=dataset.schema_hash, report=dataset.report,
        checked_run_id=run_id, checked_epoch=0, validated_at=dataset.validated_at,
    )  # fmt: skip


def named_dataset(workspace: Workspace) -> Dataset:
    """A dataset's row alone, for tasks that read none."""
    return Dataset.objects.create(
        workspace=workspace, name="none", filename="none.zip", state=DatasetState.READY,
        schema=TELECOM.to_dict(), schema_hash=TELECOM.hash,
    )  # fmt: skip


def new_task(dataset: Dataset, workflow: str, *, name: str = "", **parameters: Any) -> Task:
    """A task that is not started."""
    spec = services.TaskSpec(
        workflow=workflow, parameters=defaults() | parameters, dataset=dataset, name=name,
        start=False,
    )  # fmt: skip
    return services.create(workspace=dataset.workspace, account=owner(), spec=spec)[0]


def real_task() -> Task:
    """A standard task on the small dataset in a workspace of its own, not started."""
    return new_task(copy_dataset(small_dataset(), new_workspace()), "standard", **QUICK)


def scripted_task(
    workspace: Workspace | None = None, *, device: str = "cpu", **stages: dict[str, Any]
) -> Task:
    """A task whose stages do as told (see ``scripted``), not started.

    Args:
        device: ``gpu`` for a worker of the queue ``refresh-gpu``, which has no other task.
    """
    workspace = workspace or new_workspace()
    dataset = Dataset.objects.filter(workspace=workspace).first() or named_dataset(workspace)
    return new_task(dataset, "refresh", name=json.dumps(stages), device=device)


def check_scripted(tasks: list[Task]) -> None:
    """What the stages committed is what their scripts say, to the last step."""
    for task in tasks:
        for run in Run.objects.filter(owner_id=task.pk, status=RunStatus.DONE):
            script = json.loads(task.name).get(run.kind, {})
            assert run.metrics["digest"] == digest_after(script.get("steps", 0)), run.metrics


def ids(tasks: Iterable[Task]) -> list[uuid.UUID]:
    """What their runs know them by."""
    return [task.pk for task in tasks]


def start(*tasks: Task) -> None:
    for task in tasks:
        services.start(task=task, account=owner())


def wait_for(tasks: list[Task], seconds: float = 900.0) -> None:
    """Until all are over; each must be completed."""
    mine = Task.objects.filter(pk__in=[task.pk for task in tasks])
    until(lambda: not mine.exclude(state__in=states.FINAL).exists(), "the tasks are over", seconds)
    bad = mine.exclude(state=states.COMPLETED)
    assert not bad.exists(), [(str(task.pk), task.state, task.error) for task in bad]


def running_step(task: Task) -> int:
    """The step that the task's running stage has told of; 0: none runs, or it told nothing."""
    run = Run.objects.filter(owner_id=task.pk, status=RunStatus.RUNNING).first()
    return int(run.progress.get("step", 0)) if run else 0


def holder(task: Task) -> int:
    """Pid of the process that holds the task's run."""
    running = Run.objects.filter(owner_id=task.pk, status=RunStatus.RUNNING)
    (name,) = until(running.values_list("lease_owner").first, "a run is held")
    return int(name.rpartition(":")[2])


def attempts(task: Task, stage: str = states.BUILDING) -> list[str]:
    """How the attempts at a stage ended, in their order."""
    runs = Run.objects.filter(owner_id=task.pk, kind=stage).order_by("attempt")
    return list(runs.values_list("status", flat=True))


def effect(task: Task) -> dict[str, Any]:
    """What a task has committed, without ids and times: equal for equal tasks."""
    task = Task.objects.get(pk=task.pk)
    done = Run.objects.filter(owner_id=task.pk, status=RunStatus.DONE)
    files = {}
    for run in done:
        for one in Artifact.objects.filter(run_id=run.pk, epoch=run.epoch):
            if not one.name.startswith("checkpoint"):
                kept = one.name not in WITH_IDS_OR_TIMES
                files[f"{run.kind} {one.name}"] = one.sha256 if kept else "there"
    profiles = Profile.objects.filter(workspace=task.workspace_id).order_by("user_id")
    rows = [[plain(getattr(row, name)) for name in PROFILE] for row in profiles]
    return {
        "state": task.state,
        "stages": sorted(run.kind for run in done),
        "metrics": plain(task.metrics),
        "files": files,
        "profiles": len(rows),
        "profiles_sha256": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
        "versions": ModelVersion.objects.filter(task_id=task.pk).count(),
        "reports": [plain(report.metrics) for report in task.evaluations.all()],
        "derived": Dataset.objects.filter(source=task.dataset).count(),
    }


def plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return json.loads(json.dumps(value, sort_keys=True, default=str))


def object_sha256(key: str) -> str:
    """Of what lies in the store now."""
    digest = hashlib.sha256()
    response = store(patience=30).client.get_object(store().bucket, key)
    with response:
        for chunk in response.stream(io.DEFAULT_BUFFER_SIZE * 16):
            digest.update(chunk)
    return digest.hexdigest()
