"""Transitions of tasks as webhooks tell of them."""

from typing import Any

from django.urls import reverse

from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task, Transition
from controlcenter.platform.webhooks import outbox
from controlcenter.platform.webhooks.subjects import Event, Subject


def describe(data: dict[str, Any]) -> str:
    return f"{data.get('name') or data.get('task', '')} → {data.get('to', '')}".strip(" →")


TRANSITIONS = Subject(
    type="task.transition",
    event_names=tuple(state for state, _ in states.CHOICES),
    describe=describe,
    url=lambda task_id: reverse("admin:tasks_task_change", args=[task_id]),
)
"""Its events are the states that a task enters."""


def tell(task: Task, transition: Transition) -> None:
    """Tell the workspace's webhooks of a transition, in its transaction."""
    event = Event(
        workspace_id=task.workspace_id,
        name=transition.target,
        subject_id=task.pk,
        id=transition.pk,
        at=transition.at,
        data=lambda: data_of(task, transition),
    )
    outbox.write(TRANSITIONS, event)


def data_of(task: Task, transition: Transition) -> dict[str, Any]:
    """What a receiver is told of a transition."""
    # The row knows: the edge may have begun another iteration after ``task`` was read.
    iteration, version = Task.objects.values_list("iteration", "version").get(pk=task.pk)
    created = transition.source == transition.target
    return {
        "workspace": task.workspace.slug,
        "task": str(task.pk),
        "name": task.name,
        "workflow": task.workflow,
        "mode": task.mode,
        "dataset": str(task.dataset_id) if task.dataset_id else None,
        "transition": transition.pk,
        "from": None if created else transition.source,
        "to": transition.target,
        "iteration": iteration,
        "version": version,
        "actor": transition.actor,
        "reason": transition.reason,
    }
