"""The state machine: edges declared with django-fsm, persisted by ``move`` alone.

::

    pending ──► optimizing ──► building ──► training ──► embedding ──► evaluating ──► completed
       │                          ▲  └──(embedding_only)────▲ └────────────────────────►  ▲
       ├──────────────────────────┘                         │                looping ─────┤
       └──(fusion)──► training ─────────────────────────────┘      (continuous)
    any stage ──► failed | cancelled | suspended;   suspended ──► the state it left | cancelled
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import models, transaction
from django.db.models.functions import Now
from django_fsm import GET_STATE, FSMField, TransitionNotAllowed
from django_fsm import transition as edge

from controlcenter.modelling.tasks import states, workflows
from controlcenter.modelling.tasks.workflows import Mode, Workflow
from controlcenter.platform.common.errors import Conflict


def follows(target: str) -> Callable[[Any], bool]:
    """The condition of an edge: the task's workflow has it in its path."""
    return lambda task: workflows.leads_to(task.workflow, task.mode, task.state, target)


class TaskMachine(models.Model):
    """The fields that the machine reads and writes, and one method an edge."""

    workflow = models.CharField(max_length=16, choices=Workflow.choices)
    mode = models.CharField(max_length=16, choices=Mode.choices, default=Mode.FULL_RETRAIN)
    state = FSMField(default=states.PENDING, choices=states.CHOICES, protected=True, db_index=True)
    left_state = models.CharField(max_length=16, blank=True, editable=False)
    version = models.PositiveIntegerField(default=0, editable=False)
    iteration = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        abstract = True

    @edge(
        "state",
        states.sources(states.OPTIMIZING),
        states.OPTIMIZING,
        conditions=[follows(states.OPTIMIZING)],
    )
    def to_optimizing(self) -> None: ...

    @edge(
        "state",
        states.sources(states.BUILDING),
        states.BUILDING,
        conditions=[follows(states.BUILDING)],
    )
    def to_building(self) -> None: ...

    @edge(
        "state",
        states.sources(states.TRAINING),
        states.TRAINING,
        conditions=[follows(states.TRAINING)],
    )
    def to_training(self) -> None: ...

    @edge(
        "state",
        states.sources(states.EMBEDDING),
        states.EMBEDDING,
        conditions=[follows(states.EMBEDDING)],
    )
    def to_embedding(self) -> None: ...

    @edge(
        "state",
        states.sources(states.EVALUATING),
        states.EVALUATING,
        conditions=[follows(states.EVALUATING)],
    )
    def to_evaluating(self) -> None: ...

    @edge(
        "state",
        states.sources(states.LOOPING),
        states.LOOPING,
        conditions=[follows(states.LOOPING)],
    )
    def to_looping(self) -> None: ...

    @edge(
        "state",
        states.sources(states.COMPLETED),
        states.COMPLETED,
        conditions=[follows(states.COMPLETED)],
    )
    def to_completed(self) -> None: ...

    @edge("state", states.sources(states.FAILED), states.FAILED)
    def to_failed(self) -> None: ...

    @edge("state", states.sources(states.CANCELLED), states.CANCELLED)
    def to_cancelled(self) -> None: ...

    @edge("state", states.sources(states.SUSPENDED), states.SUSPENDED)
    def to_suspended(self) -> None: ...

    @edge(
        "state",
        states.SUSPENDED,
        GET_STATE(lambda task: task.left_state, states=list(states.ACTIVE)),
    )
    def to_left_state(self) -> None: ...


Machine = TypeVar("Machine", bound=TaskMachine)


class StaleMove(Exception):
    """Somebody moved the task since it was read."""


@dataclass(frozen=True)
class TaskVersion:
    """The task as a caller has read it: compared under the lock before an edge is taken."""

    state: str
    version: int
    iteration: int


def version_of(task: TaskMachine) -> TaskVersion:
    """What ``move`` expects of a task as it was read."""
    return TaskVersion(task.state, task.version, task.iteration)


def take_edge(task: TaskMachine, target: str) -> None:
    """Change the state in memory, if table, workflow and history allow it.

    Raises:
        Conflict: otherwise.
    """
    source = task.state
    resumed = source == states.SUSPENDED and target != states.CANCELLED
    try:
        if target in states.EDGES[source] and (not resumed or target == task.left_state):
            getattr(task, "to_left_state" if resumed else f"to_{target}")()
            return
    except TransitionNotAllowed:
        pass  # the workflow's conditions say no: the same answer as for an edge that is not there
    raise Conflict(f"A task that is {source} (workflow {task.workflow}) cannot become {target}.")


def move(
    task: Machine,
    target: str,
    *,
    expected: TaskVersion,
    actor: str,
    reason: str,
) -> Machine:
    """Take the edge to ``target`` and persist it: the only place that writes a state.

    Must run in a transaction. Locks the row, compares ``(state, version, iteration)`` (the state
    alone would let a stale worker act on a later round of a loop), writes the state, the
    ``Transition`` row and the task's event.

    Returns:
        The task as it is after the edge, but for the times.

    Raises:
        StaleMove: if the row is not as expected.
        Conflict: if the machine has no such edge; the message names both states.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("move() must run inside the transaction of a service")
    model = type(task)
    current = model._default_manager.select_for_update().get(pk=task.pk)
    if version_of(current) != expected:
        raise StaleMove(f"task {task.pk} is {version_of(current)}, expected {expected}")
    take_edge(current, target)
    current.version += 1
    current.iteration += expected.state == states.LOOPING and target == states.OPTIMIZING
    current.left_state = expected.state if target == states.SUSPENDED else ""
    times = {"finished_at": Now()} if target in states.FINAL else {}
    if expected.state == states.PENDING and not times:
        times = {"started_at": Now()}
    changed = model._default_manager.filter(
        pk=task.pk, state=expected.state, version=expected.version, iteration=expected.iteration
    ).update(
        state=current.state,
        version=current.version,
        iteration=current.iteration,
        left_state=current.left_state,
        **times,
    )
    if changed != 1:
        raise StaleMove(f"task {task.pk} moved while its row was locked")
    current.note_transition(  # type: ignore[attr-defined]
        source=expected.state, target=current.state, actor=actor, reason=reason
    )
    return current
