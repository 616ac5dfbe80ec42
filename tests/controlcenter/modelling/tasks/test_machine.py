"""The machine: exactly the edges of the table, each persisted once."""

import itertools

import pytest
from django.db import transaction

from controlcenter.modelling.tasks import states, workflows
from controlcenter.modelling.tasks.machine import StaleMove, TaskVersion, move, version_of
from controlcenter.modelling.tasks.models import Task, Transition
from controlcenter.modelling.tasks.workflows import Mode, Workflow
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.common.formatting import tone

pytestmark = pytest.mark.django_db
ALL = (*states.INCOMPLETE, *states.FINAL)


def task_in(workspace, state, *, workflow=Workflow.REFRESH, mode=Mode.FULL_RETRAIN, left=""):
    task = Task.objects.create(workspace=workspace, workflow=workflow, mode=mode, state=state)
    Task.objects.filter(pk=task.pk).update(left_state=left)
    return Task.objects.get(pk=task.pk)


def allowed(task, target):
    """Whether the machine takes the edge; nothing stays of the attempt."""
    try:
        with transaction.atomic():
            move(task, target, expected=version_of(task), actor="test", reason="")
            transaction.set_rollback(True)
    except Conflict:
        return False
    return True


def test_the_table_is_the_designs():
    assert {
        "pending": {"optimizing", "building", "training", "cancelled"},
        "optimizing": {"building", "failed", "cancelled", "suspended"},
        "building": {"training", "embedding", "failed", "cancelled", "suspended"},
        "training": {"embedding", "failed", "cancelled", "suspended"},
        "embedding": {"completed", "evaluating", "failed", "cancelled", "suspended"},
        "evaluating": {"completed", "looping", "failed", "cancelled", "suspended"},
        "looping": {"optimizing", "completed", "cancelled", "suspended"},
        "suspended": {
            "optimizing",
            "building",
            "training",
            "embedding",
            "evaluating",
            "looping",
            "cancelled",
        },
        "completed": set(),
        "failed": set(),
        "cancelled": set(),
    } == states.EDGES


@pytest.mark.parametrize(
    ("workflow", "mode"),
    [(w, m) for w, m in itertools.product(Workflow, Mode) if (w, m) in workflows.PATHS],
)
def test_every_pair_of_states(workspace, workflow, mode):
    """No workflow takes an edge outside the table; its own path is open all along."""
    taken = set()
    for state in ALL:
        left = states.TRAINING if state == states.SUSPENDED else ""
        task = task_in(workspace, state, workflow=workflow, mode=mode, left=left)
        taken |= {(state, target) for target in ALL if allowed(task, target)}
        Task.objects.all().delete()
    assert {(s, t) for s, t in taken if t not in states.EDGES[s]} == set()
    path = [states.PENDING, *workflows.path(workflow, mode)]
    assert set(itertools.pairwise(path)) <= taken
    assert (path[-1], states.COMPLETED) in taken
    assert {t for s, t in taken if s == states.PENDING} == {path[1], states.CANCELLED}
    assert {t for s, t in taken if s == states.SUSPENDED} == {states.TRAINING, states.CANCELLED}


@pytest.mark.parametrize("mode", Mode)
def test_a_refresh_goes_its_way_only(workspace, mode):
    task = task_in(workspace, states.BUILDING, mode=mode)
    after = states.TRAINING if mode == Mode.FULL_RETRAIN else states.EMBEDDING
    assert [t for t in (states.TRAINING, states.EMBEDDING) if allowed(task, t)] == [after]


def test_a_move_leaves_state_version_and_history(workspace):
    task = task_in(workspace, states.PENDING)
    with transaction.atomic():
        move(task, states.BUILDING, expected=version_of(task), actor="ann", reason="because")
    moved = Task.objects.get(pk=task.pk)
    assert (moved.state, moved.version, moved.iteration) == (states.BUILDING, 1, 0)
    assert moved.started_at is not None
    row = Transition.objects.get(task=task)
    assert (row.source, row.target, row.actor, row.reason) == (
        states.PENDING,
        states.BUILDING,
        "ann",
        "because",
    )


def test_a_loop_counts_iterations_and_refuses_who_saw_an_earlier_round(workspace):
    """The state alone is the same in each round: version and iteration tell them apart."""
    task = task_in(workspace, states.TRAINING, workflow=Workflow.CONTINUOUS)
    stale = version_of(task)
    for target in ("embedding", "evaluating", "looping", "optimizing", "building", "training"):
        with transaction.atomic():
            current = Task.objects.get(pk=task.pk)
            move(current, target, expected=version_of(current), actor="test", reason="")
    assert Task.objects.get(pk=task.pk).iteration == 1
    with pytest.raises(StaleMove), transaction.atomic():
        move(task, states.FAILED, expected=stale, actor="zombie", reason="")
    assert Task.objects.get(pk=task.pk).state == states.TRAINING


def test_final_states_refuse_everything(workspace):
    for state in states.FINAL:
        task = task_in(workspace, state)
        assert [target for target in ALL if allowed(task, target)] == []


def test_a_move_outside_a_transaction_is_a_defect(workspace, transactional_db):
    task = task_in(workspace, states.PENDING)
    with pytest.raises(RuntimeError, match="inside the transaction"):
        move(task, states.BUILDING, expected=TaskVersion("pending", 0, 0), actor="test", reason="")


def test_a_state_is_never_assigned(workspace):
    task = task_in(workspace, states.PENDING)
    with pytest.raises(AttributeError):
        task.state = states.COMPLETED


def test_a_task_that_holds_its_workspace_looks_busy():
    assert {tone(state) for state in states.ACTIVE} == {"busy"}
    assert tone(states.PENDING) == "idle"
