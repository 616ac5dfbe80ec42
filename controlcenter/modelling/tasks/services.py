"""What people and programs do with tasks; each function owns its transaction."""

from dataclasses import replace

import structlog
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.tasks import outcomes, states, workflows
from controlcenter.modelling.tasks.models import (
    Task,
    TaskEvent,
    Transition,
    transition_taken,
)
from controlcenter.modelling.tasks.spec.task_spec import TaskSpec, check
from controlcenter.modelling.tasks.stages import queue_stage
from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.audit.services import SYSTEM, record
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.runs.endings import close
from controlcenter.platform.runs.models import LIVE, Run, RunStatus


def made_with(key: str, workspace: Workspace, spec: TaskSpec) -> Task | None:
    """The task that this key and request made before, if any.

    Raises:
        Conflict: if the key made another one.
    """
    earlier = Task.objects.filter(workspace=workspace, idempotency_key=key).first() if key else None
    if earlier is not None and earlier.request_hash != spec.hash:
        raise Conflict(
            f"Idempotency-Key {key!r} was used for another request (task {earlier.pk}): "
            "send a new key."
        )
    return earlier


@transaction.atomic
def create(
    *,
    workspace: Workspace,
    account: Account | None,
    spec: TaskSpec,
    key: str = "",
    retry_of: Task | None = None,
) -> tuple[Task, bool]:
    """A task with its first run and the message for it.

    Args:
        key: ``Idempotency-Key``: the same key and request give the task of the first time.
        retry_of: A task that failed, whose finished stages this one takes over.

    Returns:
        The task, and whether it is new.

    Raises:
        Conflict: for the same key with another request.
    """
    earlier = made_with(key, workspace, spec)
    if earlier is not None:
        return earlier, False
    if spec.dataset is not None:
        # Locked until the task is there, so that a delete sees the task or comes before it.
        current = Dataset.objects.select_for_update(of=("self",))
        spec = replace(spec, dataset=current.get(pk=spec.dataset.pk))
    check(spec, workspace)
    bound = structlog.contextvars.get_contextvars()
    try:
        with transaction.atomic():
            task = Task.objects.create(
                workspace=workspace,
                workflow=spec.workflow,
                mode=spec.parameters["mode"],
                name=spec.name,
                dataset=spec.dataset,
                base_version=spec.base_version,
                parameters=spec.parameters,
                priority=spec.priority,
                created_by=account,
                idempotency_key=key,
                request_hash=spec.hash,
                retry_of=retry_of,
                request_id=str(bound.get("request_id", "")),
            )
    except IntegrityError:  # the same key at the same time
        earlier = made_with(key, workspace, spec)
        if earlier is None:
            raise
        return earlier, False
    note_creation(task, account)
    if spec.start:
        queue_first(task)
    return Task.objects.get(pk=task.pk), True


def note_creation(task: Task, account: Account | None) -> None:
    """The first transition of a new task, its event and its audit entry."""
    actor = account.username if account else SYSTEM
    created = Transition.objects.create(
        task=task, source=states.PENDING, target=states.PENDING, actor=actor, reason="created"
    )
    TaskEvent.objects.create(task=task, kind="state", data={"to": states.PENDING})
    transition_taken(task, created)
    details = {"workflow": task.workflow, "parameters": task.parameters}
    record(
        account=account,
        workspace=task.workspace,
        action="task.create",
        target=task,
        details=details | ({"retry_of": str(task.retry_of_id)} if task.retry_of_id else {}),
    )


def queue_first(task: Task) -> Run:
    """A run of the first stage of the task's path, in the caller's transaction."""
    first = workflows.next_state(task.workflow, task.mode, states.PENDING)
    return queue_stage(task, first)


def locked(task: Task) -> Task:
    """The task as it is now, locked."""
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
    live = list(Run.objects.select_for_update().filter(owner_id=task.pk, status__in=LIVE))
    if not any(run.status == RunStatus.RUNNING for run in live):
        for run in live:
            close(run, RunStatus.CANCELLED, error="Cancelled before it ran.")
        task.cancel_requested_by = task.cancel_requested_by or actor
        outcomes.cancel(task, actor=actor)
    return Task.objects.get(pk=task.pk)


@transaction.atomic
def suspend(*, task: Task, account: Account | None) -> Task:
    """Suspend: at once when nothing runs, else when the worker has kept what it has.

    Raises:
        Conflict: if the task is over or was not begun (suspended already: no error).
    """
    task = locked(task)
    if task.state in (*states.FINAL, states.PENDING):
        raise Conflict(
            f"The task is {task.state}: there is nothing to suspend."
            + (" Cancel it if it shall not begin." if task.state == states.PENDING else "")
        )
    if task.cancel_requested_at is not None:
        raise Conflict("The task is being cancelled: there is nothing to suspend.")
    actor = account.username if account else SYSTEM
    live = list(Run.objects.select_for_update().filter(owner_id=task.pk, status__in=LIVE))
    if task.state == states.SUSPENDED and not live:
        return task
    if task.suspend_requested_at is None:
        record(account=account, workspace=task.workspace, action="task.suspend", target=task)
        TaskEvent.objects.create(task=task, kind="suspend", data={"by": actor})
    if any(run.status == RunStatus.RUNNING for run in live):
        Task.objects.filter(pk=task.pk, suspend_requested_at=None).update(
            suspend_requested_at=Now(), suspend_requested_by=actor
        )
        return Task.objects.get(pk=task.pk)
    for run in live:
        close(run, RunStatus.RELEASED, error=f"Suspended by {actor} before it ran.")
    if task.state != states.SUSPENDED:  # else it was to be resumed, and had not begun to
        task.suspend_requested_by = actor
        outcomes.suspend(task, actor=actor)
    return Task.objects.get(pk=task.pk)


@transaction.atomic
def resume(*, task: Task, account: Account | None) -> Task:
    """Queue a suspended task again; it goes on from its checkpoint when its turn comes.

    Raises:
        Conflict: if it is not suspended (queued again already: no error).
    """
    task = locked(task)
    if task.state != states.SUSPENDED:
        raise Conflict(f"The task is {task.state}: only a suspended one can be resumed.")
    if not task.runs.filter(status__in=LIVE).exists():
        last = (
            task.runs.filter(iteration=task.iteration, kind=task.left_state)
            .order_by("attempt")
            .last()
        )
        queue_stage(task, task.left_state, after=last)
        record(account=account, workspace=task.workspace, action="task.resume", target=task)
        actor = account.username if account else SYSTEM
        TaskEvent.objects.create(task=task, kind="resume", data={"by": actor})
    return task


def retry(*, task: Task, account: Account | None) -> Task:
    """A new task that does what a failed or cancelled one was to do, from its last good stage.

    Raises:
        Conflict: if the task is neither, or its dataset can't be used any more.
    """
    if task.state not in (states.FAILED, states.CANCELLED):
        raise Conflict(
            f"The task is {task.state}: only one that failed or was cancelled is retried."
        )
    again = task.retries.filter(state__in=states.INCOMPLETE).first()
    if again is not None:
        raise Conflict(f"The task is being retried already, as task {again.pk}.")
    spec = TaskSpec(
        workflow=task.workflow,
        parameters=task.parameters,
        dataset=task.dataset,
        base_version=task.base_version,
        name=task.name,
        priority=task.priority,
    )
    following, _ = create(workspace=task.workspace, account=account, spec=spec, retry_of=task)
    return following
