"""Workflows: which stages a task passes, in which order."""

from django.db import models

from controlcenter.modelling.tasks import states


class Workflow(models.TextChoices):
    """Kinds of task."""

    REFRESH = "refresh"
    FUSION = "fusion"
    STANDARD = "standard"
    CONTINUOUS = "continuous"


class Mode(models.TextChoices):
    """How a refresh treats the model."""

    FULL_RETRAIN = "full_retrain"
    EMBEDDING_ONLY = "embedding_only"


FULL_PATH = (
    states.OPTIMIZING,
    states.BUILDING,
    states.TRAINING,
    states.EMBEDDING,
    states.EVALUATING,
)

PATHS: dict[tuple[str, str], tuple[str, ...]] = {
    (Workflow.REFRESH, Mode.FULL_RETRAIN): (states.BUILDING, states.TRAINING, states.EMBEDDING),
    (Workflow.REFRESH, Mode.EMBEDDING_ONLY): (states.BUILDING, states.EMBEDDING),
    (Workflow.FUSION, Mode.FULL_RETRAIN): (states.TRAINING, states.EMBEDDING),
    (Workflow.STANDARD, Mode.FULL_RETRAIN): FULL_PATH,
    (Workflow.CONTINUOUS, Mode.FULL_RETRAIN): (*FULL_PATH, states.LOOPING),
}


def path(workflow: str, mode: str) -> tuple[str, ...]:
    """The stages between pending and completed.

    Raises:
        KeyError: if the workflow has no such mode.
    """
    return PATHS[(Workflow(workflow), Mode(mode))]


def needs_base(workflow: str, mode: str) -> bool:
    """Whether the workflow starts from a model version: the named one, else the active one."""
    return workflow == Workflow.FUSION or mode == Mode.EMBEDDING_ONLY


def next_state(workflow: str, mode: str, state: str) -> str:
    """The state after ``state`` on the plain path, ``completed`` after the last stage."""
    stages = path(workflow, mode)
    if state == states.PENDING:
        return stages[0]
    following = stages[stages.index(state) + 1 :]
    return following[0] if following else states.COMPLETED


def leads_to(workflow: str, mode: str, state: str, target: str) -> bool:
    """Whether the path of a workflow goes from a state to another; a loop may begin anew."""
    if (workflow, mode) not in PATHS:
        return False
    if state == states.LOOPING and target == path(workflow, mode)[0]:
        return True
    begun = state == states.PENDING or state in path(workflow, mode)
    return begun and target == next_state(workflow, mode, state)
