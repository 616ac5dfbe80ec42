"""What people and programs do with tasks; each function owns its transaction."""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import structlog
from django.db import IntegrityError, models, transaction
from django.db.models.functions import Now
from rest_framework.exceptions import ValidationError

from controlcenter.accounts.models import Account, Workspace
from controlcenter.audit.services import SYSTEM, record
from controlcenter.common.errors import Conflict
from controlcenter.tasks import states, workflows
from controlcenter.tasks.claims import active_base
from controlcenter.tasks.endings import close, wake_next
from controlcenter.tasks.listeners import transition_taken
from controlcenter.tasks.machine import move, seen
from controlcenter.tasks.models import LIVE, Run, RunStatus, Task, TaskEvent, Transition
from controlcenter.tasks.runs import queue_run
from controlcenter.tasks.workflows import Mode, Workflow


@dataclass(frozen=True)
class Request:
    """What a new task is asked to be.

    Args:
        parameters: As ``ParametersSerializer`` leaves them.
    """

    workflow: str
    parameters: dict[str, Any]
    dataset: Any = None
    base_version: Any = None
    name: str = ""
    priority: int = 0
    start: bool = True

    @property
    def hash(self) -> str:
        content = {
            "workflow": self.workflow,
            "parameters": self.parameters,
            "dataset": str(self.dataset.pk) if self.dataset else None,
            "base_version": str(self.base_version.pk) if self.base_version else None,
            "name": self.name,
            "priority": self.priority,
            "start": self.start,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check(asked: Request, workspace: Workspace) -> None:
    """Raises: ValidationError or Conflict if the request can't be a task."""
    if asked.workflow not in workflows.OFFERED:
        offered = ", ".join(sorted(workflows.OFFERED))
        raise Conflict(
            f"Workflow {asked.workflow!r} is declared and not offered yet; offered are {offered}."
        )
    mode = asked.parameters["mode"]
    if (asked.workflow, mode) not in workflows.PATHS:
        raise ValidationError({"parameters.mode": f"workflow {asked.workflow} has no mode {mode}"})
    own_graph = mode == Mode.EMBEDDING_ONLY and asked.base_version is not None
    if asked.dataset is None and asked.workflow == Workflow.REFRESH and not own_graph:
        raise ValidationError({"dataset": "a refresh needs a dataset"})
    if asked.dataset is not None and asked.dataset.state != "ready":
        raise Conflict(
            f"Dataset {asked.dataset.name!r} is {asked.dataset.state}; a task needs one that is "
            "ready: wait for its validation, or read its quality report."
        )
    based = workflows.needs_base(asked.workflow, mode)
    if based and asked.base_version is None and active_base(workspace) is None:
        raise Conflict("The workspace has no model version yet: run a full refresh first.")


def made_with(key: str, workspace: Workspace, asked: Request) -> Task | None:
    """The task that this key and request made before, if any.

    Raises:
        Conflict: if the key made another one.
    """
    earlier = Task.objects.filter(workspace=workspace, idempotency_key=key).first() if key else None
    if earlier is not None and earlier.request_hash != asked.hash:
        raise Conflict(
            f"Idempotency-Key {key!r} was used for another request (task {earlier.pk}): "
            "send a new key."
        )
    return earlier


@transaction.atomic
def create(
    *, workspace: Workspace, account: Account | None, asked: Request, key: str = ""
) -> tuple[Task, bool]:
    """A task with its first run and the message for it.

    Args:
        key: ``Idempotency-Key``: the same key and request give the task of the first time.

    Returns:
        The task, and whether it is new.

    Raises:
        Conflict: for the same key with another request.
    """
    earlier = made_with(key, workspace, asked)
    if earlier is not None:
        return earlier, False
    if asked.dataset is not None:
        # Locked until the task is there, so that a delete sees the task or comes before it.
        current = type(asked.dataset).objects.select_for_update(of=("self",))
        asked = replace(asked, dataset=current.get(pk=asked.dataset.pk))
    check(asked, workspace)
    bound = structlog.contextvars.get_contextvars()
    try:
        with transaction.atomic():
            task = Task.objects.create(
                workspace=workspace,
                workflow=asked.workflow,
                mode=asked.parameters["mode"],
                name=asked.name,
                dataset=asked.dataset,
                base_version=asked.base_version,
                parameters=asked.parameters,
                priority=asked.priority,
                created_by=account,
                idempotency_key=key,
                request_hash=asked.hash,
                request_id=str(bound.get("request_id", "")),
            )
    except IntegrityError:  # the same key at the same time
        earlier = made_with(key, workspace, asked)
        if earlier is None:
            raise
        return earlier, False
    actor = account.username if account else SYSTEM
    created = Transition.objects.create(
        task=task, source=states.PENDING, target=states.PENDING, actor=actor, reason="created"
    )
    TaskEvent.objects.create(task=task, kind="state", data={"to": states.PENDING})
    transition_taken(task, created)
    record(
        account=account,
        workspace=workspace,
        action="task.create",
        target=task,
        details={"workflow": asked.workflow, "parameters": asked.parameters},
    )
    if asked.start:
        queue_first(task)
    return Task.objects.get(pk=task.pk), True


def queue_first(task: Task) -> Run:
    first = workflows.next_state(task.workflow, task.mode, states.PENDING)
    return queue_run(workspace=task.workspace, kind=first, task=task)


def locked(task: Task) -> Task:
    return Task.objects.select_for_update().get(pk=task.pk)


@transaction.atomic
def start(*, task: Task, account: Account) -> Task:
    """Queue a task that was created with ``start: false``; a started one is left alone.

    Raises:
        Conflict: if it is over.
    """
    task = locked(task)
    if task.state in states.FINAL:
        raise Conflict(f"The task is {task.state}: create a new one.")
    if task.state == states.PENDING and not task.runs.exists():
        queue_first(task)
        record(account=account, workspace=task.workspace, action="task.start", target=task)
    return task


@transaction.atomic
def cancel(*, task: Task, account: Account | None) -> Task:
    """Cancel: final at once when nothing runs, else at the worker's next heartbeat.

    Raises:
        Conflict: if the task is over (cancelled already: no error).
    """
    task = locked(task)
    if task.state == states.CANCELLED:
        return task
    if task.state in states.FINAL:
        raise Conflict(f"The task is {task.state}: there is nothing to cancel.")
    actor = account.username if account else SYSTEM
    if task.cancel_requested_at is None:
        record(account=account, workspace=task.workspace, action="task.cancel", target=task)
        Task.objects.filter(pk=task.pk).update(cancel_requested_at=Now(), cancel_requested_by=actor)
        TaskEvent.objects.create(task=task, kind="cancel", data={"by": actor})
    live = list(Run.objects.select_for_update().filter(task=task, status__in=LIVE))
    if not any(run.status == RunStatus.RUNNING for run in live):
        for run in live:
            close(run, RunStatus.CANCELLED, error="Cancelled before it ran.")
        move(
            task, states.CANCELLED, expected=seen(task), actor=actor, reason=f"cancelled by {actor}"
        )
        wake_next(task)
    return Task.objects.get(pk=task.pk)


def refuse_suspend(task: Task, verb: str) -> NoReturn:
    """Raises: Conflict, always: the states are declared, no worker writes checkpoints for them."""
    raise Conflict(
        f"Cannot {verb} a task that is {task.state}: suspending is declared and not offered yet. "
        "Cancel it, or let it finish."
    )


def queue_place(task: Task) -> models.QuerySet[Task]:
    """The started tasks of the workspace that go before a pending one."""
    others = Task.objects.filter(workspace=task.workspace_id).exclude(pk=task.pk)
    ahead = models.Q(priority__gt=task.priority) | models.Q(
        priority=task.priority, created_at__lt=task.created_at
    )
    waiting = models.Q(state=states.PENDING, runs__status=RunStatus.QUEUED) & ahead
    return others.filter(models.Q(state__in=states.ACTIVE) | waiting).distinct()
