"""What holds of every task, whatever went wrong before; counted from the database and the store."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from controlcenter.modelling.tasks import states, workflows
from controlcenter.modelling.tasks.models import Task, TaskEvent, Transition
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.runs.models import LIVE, Outbox, Run, RunStatus
from tests.chaos.world import object_sha256


@dataclass
class Findings:
    """Sentences about what does not hold.

    Args:
        lost: A task that was to be completed and is not, or lacks a stage or an object.
        doubled: Something that was done or recorded twice.
        stuck: An unfinished task that nobody works on and nobody is told of.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.stuck)


def check(tasks: Iterable[Task], *, completed: bool = True, objects: bool = True) -> Findings:
    """Look at tasks and all they have.

    Args:
        completed: They must be.
        objects: Read every recorded object and compare its SHA-256.
    """
    found = Findings()
    for task in Task.objects.filter(pk__in=[one.pk for one in tasks]):
        if completed and task.state != states.COMPLETED:
            found.lost.append(f"task {task.pk} is {task.state}: {task.error}")
        _path(task, found)
        _runs(task, found)
        if objects:
            _objects(task, found)
    return found


def _path(task: Task, found: Findings) -> None:
    """One row a transition, each an edge of the machine, one event each."""
    rows = list(Transition.objects.filter(task=task).order_by("pk"))
    state = states.PENDING
    for row in rows[1:]:
        if row.source != state or row.target not in states.EDGES[state]:
            found.lost.append(f"task {task.pk}: {row.source} → {row.target} after {state}")
        state = row.target
    if (rows[0].source, rows[0].target) != (states.PENDING, states.PENDING):
        found.lost.append(f"task {task.pk} has no transition of its creation")
    if len(rows) != task.version + 1 or state != task.state:
        found.lost.append(f"task {task.pk}: {len(rows)} rows for version {task.version}, {state}")
    events = TaskEvent.objects.filter(task=task, kind="state").count()
    if events != len(rows):
        found.doubled.append(f"task {task.pk}: {events} events for {len(rows)} transitions")


def _runs(task: Task, found: Findings) -> None:
    runs = list(Run.objects.filter(owner_id=task.pk))
    done = Counter((run.iteration, run.kind) for run in runs if run.status == RunStatus.DONE)
    for stage, times in done.items():
        if times > 1:
            found.doubled.append(f"task {task.pk}: {stage} is done {times} times")
    if task.state == states.COMPLETED:
        for stage in workflows.path(task.workflow, task.mode):
            if stage in states.STAGES and not done[(task.iteration, stage)]:
                found.lost.append(f"task {task.pk} is completed without {stage}")
    epochs = [run.epoch for run in runs if run.epoch is not None]
    if len(epochs) != len(set(epochs)):
        found.doubled.append(f"task {task.pk}: an epoch was given twice")
    live = [run for run in runs if run.status in LIVE]
    if len(live) > 1 or (live and task.state in states.FINAL):
        found.doubled.append(f"task {task.pk} is {task.state} with {len(live)} live runs")


def _objects(task: Task, found: Findings) -> None:
    known = Artifact.objects.filter(run_id__in=Run.objects.filter(owner_id=task.pk).values("pk"))
    for one in known:
        try:
            if object_sha256(one.key) != one.sha256:
                found.lost.append(f"{one.key}: the object is another than was recorded")
        except Exception as error:
            found.lost.append(f"{one.key}: {type(error).__name__}: {error}")


def stuck_tasks() -> list[str]:
    """Unfinished tasks without a live lease, a queued run or an unsent message, of all there are.

    A task that was never started waits for a person, and so does a suspended one.
    """
    live = Run.objects.filter(
        owner_id=OuterRef("pk"), status=RunStatus.RUNNING, lease_expires_at__gt=Now()
    )
    queued = Run.objects.filter(owner_id=OuterRef("pk"), status=RunStatus.QUEUED)
    started = Run.objects.filter(owner_id=OuterRef("pk"))
    waiting = Task.objects.filter(state__in=states.INCOMPLETE).exclude(state=states.SUSPENDED)
    nobody = waiting.filter(Exists(started)).filter(~Exists(live), ~Exists(queued))
    return [f"task {task.pk} is {task.state} and nobody works on it" for task in nobody]


def leaked_leases() -> list[str]:
    """Leases of runs that do not run."""
    kept = Run.objects.filter(lease_expires_at__isnull=False).exclude(status=RunStatus.RUNNING)
    return [f"run {run.pk} is {run.status} and has a lease" for run in kept]


def unsent() -> int:
    """Messages that are due and were not sent."""
    return Outbox.objects.filter(sent_at__isnull=True, available_at__lte=Now()).count()
