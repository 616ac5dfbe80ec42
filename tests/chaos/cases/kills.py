"""kill -9 at every named point of every stage: the same committed effect as without."""

from itertools import chain
from typing import Any

from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.runs.models import Run, RunStatus
from tests.chaos import invariants
from tests.chaos.markers import POINTS
from tests.chaos.system import System
from tests.chaos.world import effect, real_task, small_dataset, start, wait_for

WITHOUT_UPLOAD = {"embedding", "evaluating"}
"""Stages whose effect is rows alone: there is no point after an upload."""


def plans(*, short: bool) -> list[dict[str, str]]:
    """For each task the point at which each of its stages is killed.

    The long form has every stage at every point; the short one every stage at three and every
    point at least once.
    """
    whole = [
        {stage: POINTS[(row + column) % len(POINTS)] for column, stage in enumerate(states.STAGES)}
        for row in range(len(POINTS))
    ]
    chosen = whole[::3] if short else whole
    return [
        {stage: point for stage, point in plan.items() if reachable(stage, point)}
        for plan in chosen
    ]


def reachable(stage: str, point: str) -> bool:
    return not (point == "after-upload" and stage in WITHOUT_UPLOAD)


def case(system: System) -> dict[str, Any]:
    """Kill a process at each point, every fifth time with its whole worker."""
    small_dataset()
    undisturbed = [real_task(), real_task()]
    planned = plans(short=system.short)
    killed = [real_task() for _ in planned]
    number = 0
    for task, plan in zip(killed, planned, strict=True):
        for stage, point in plan.items():
            number += 1
            whole = number % 5 == 0 and point != "after-publish"
            system.markers.put(task.pk, stage, point, "kill-worker" if whole else "kill")
    start(*undisturbed, *killed)
    wait_for([*undisturbed, *killed])
    assert not system.markers.untouched(), system.markers.untouched()
    expected = effect(undisturbed[0])
    assert effect(undisturbed[1]) == expected, differences(effect(undisturbed[1]), expected)
    for task, plan in zip(killed, planned, strict=True):
        assert effect(task) == expected, (plan, differences(effect(task), expected))
        check_attempts(task, plan)
    found = invariants.check([*undisturbed, *killed])
    assert not found, found
    return {"kills": number, "points": sorted(set(chain(*(plan.values() for plan in planned))))}


def check_attempts(task: Task, plan: dict[str, str]) -> None:
    """Each kill of a holder cost one attempt, and no other did."""
    for stage in states.STAGES:
        runs = Run.objects.filter(owner_id=task.pk, kind=stage).order_by("attempt")
        held = plan.get(stage) not in (None, "after-commit", "after-publish")
        expected = [RunStatus.LOST] * held + [RunStatus.DONE]
        got = [run.status for run in runs]
        assert got == expected, (stage, plan.get(stage), got)


def differences(got: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """Where two effects differ."""
    found: dict[str, Any] = {}
    for name in sorted({*got, *expected}):
        mine, other = got.get(name), expected.get(name)
        if isinstance(mine, dict) and isinstance(other, dict):
            found |= {f"{name}.{key}": told for key, told in differences(mine, other).items()}
        elif mine != other:
            found[name] = (mine, other)
    return found
