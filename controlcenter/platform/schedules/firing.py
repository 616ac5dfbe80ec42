"""Which fire times are due, and the one thing that each of them makes.

A message of beat, or the relay's loop, only says "look". Here PostgreSQL decides, under the lock
of the schedule's row: a fire time becomes one ``Fire`` and at most one thing in one transaction,
however many processes look and whenever one of them is killed.

Each look decides the latest fire time that is due. Earlier ones that nobody looked at are counted
in its ``passed_over``: the latest stands for them.
"""

import uuid
from collections import Counter
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from rest_framework.exceptions import APIException

from controlcenter.platform.accounts.console.forms import sentence
from controlcenter.platform.accounts.models import Account
from controlcenter.platform.audit.services import record
from controlcenter.platform.common import clock
from controlcenter.platform.common.api.problems import DATABASE_AWAY
from controlcenter.platform.runs.models import Chore
from controlcenter.platform.schedules import actions, cron
from controlcenter.platform.schedules.actions import Unfinished
from controlcenter.platform.schedules.models import Fire, Missed, Outcome, Overlap, Schedule

log = structlog.get_logger(__name__)
CHORE = "schedules"
GRACE = timedelta(minutes=5)
"""A fire time that is looked at later than this after it was missed."""


def fire_due(now: datetime | None = None) -> dict[str, int]:
    """Decide every fire time that is due, and make the fires that waited and need not any more.

    Args:
        now: By default the database's clock, read under the lock of each schedule.

    Returns:
        How many fires had which outcome; ``failed`` counts schedules that could not be decided:
        their traceback is in the log, and the next look tries again.
    """
    counts: Counter[str] = Counter()
    for schedule_id in due(now or clock.now()):
        try:
            counts.update(look(schedule_id, now))
        except DATABASE_AWAY:
            raise
        except Exception:
            # One schedule must not keep the others, nor the relay, from their work.
            log.exception("schedules.failed", schedule=str(schedule_id))
            counts["failed"] += 1
    Chore.objects.update_or_create(name=CHORE, defaults={"last_at": Now()})
    if counts:
        log.info("schedules.fired", **counts)
    return dict(counts)


def due(now: datetime) -> list[object]:
    """Ids of the enabled schedules with something to decide, the longest due first."""
    waiting = Fire.objects.filter(schedule=OuterRef("pk"), outcome=Outcome.WAITING)
    schedules = Schedule.objects.filter(Q(next_at__lte=now) | Exists(waiting), enabled=True)
    return list(schedules.order_by("next_at").values_list("pk", flat=True))


@transaction.atomic
def look(schedule_id: object, now: datetime | None = None) -> list[str]:
    """Decide one schedule, unless another process has it locked: then that one decides.

    Returns:
        The outcomes: at most one of the fire that waited, at most one of the latest due.
    """
    locked = Schedule.objects.select_for_update(of=("self",), skip_locked=True)
    enabled = locked.select_related("workspace").filter(enabled=True)
    schedule = enabled.filter(pk=schedule_id).first()
    if schedule is None:
        return []
    return decide(schedule, now or clock.now())


def decide(schedule: Schedule, now: datetime) -> list[str]:
    """Decide what is due of a locked schedule."""
    decided = []
    waiting = schedule.fires.filter(outcome=Outcome.WAITING).first()
    if waiting is not None and unfinished(schedule) is None:
        noun = actions.of(schedule).noun
        waiting.reason = f"Waited {spell(now - waiting.fire_time)} for the {noun} before it."
        decided.append(make(waiting, Outcome.CREATED))
    times = cron.due(schedule.cron, schedule.timezone, after=schedule.decided_until, until=now)
    if times:
        latest, since = times[-1], schedule.decided_until
        # A fire by hand may have come at this very moment.
        if not schedule.fires.filter(fire_time=latest).exists():
            fire = Fire(schedule=schedule, fire_time=latest, passed_over=len(times) - 1)
            if fire.passed_over:
                fire.reason = f"Stands for {fire.passed_over} earlier since {since:%Y-%m-%d %H:%M}."
            decided.append(settle(fire, now))
        schedule.decided_until = latest
    set_next(schedule)
    return decided


def set_next(schedule: Schedule) -> None:
    """Write until when a locked schedule is decided, and its next fire time."""
    following = cron.following(schedule.cron, schedule.timezone, after=schedule.decided_until)
    schedule.next_at = following[0] if following and schedule.enabled else None
    Schedule.objects.filter(pk=schedule.pk).update(
        decided_until=schedule.decided_until, next_at=schedule.next_at
    )


def settle(fire: Fire, now: datetime) -> str:
    """Give a new fire its outcome, by the policies of its locked schedule."""
    schedule = fire.schedule
    late = now - fire.fire_time
    if late > GRACE and schedule.missed == Missed.SKIP:
        return write(fire, Outcome.SKIPPED, f"Missed: nobody looked for {spell(late)}.")
    noun = actions.of(schedule).noun
    before = unfinished(schedule) if schedule.overlap != Overlap.QUEUE else None
    if before is not None and schedule.overlap == Overlap.SKIP:
        return write(fire, Outcome.SKIPPED, f"{noun.capitalize()} {before.id} is {before.state}.")
    if before is not None:
        waiting = schedule.fires.filter(outcome=Outcome.WAITING).first()
        if waiting is None:
            return write(fire, Outcome.WAITING, f"Waits for {noun} {before.id}.")
        at = f"{waiting.fire_time:%Y-%m-%d %H:%M}"
        return write(fire, Outcome.SKIPPED, f"The fire of {at} waits already.")
    if late > GRACE:
        return make(fire, Outcome.MADE_UP, reason=f"Missed: nobody looked for {spell(late)}.")
    return make(fire, Outcome.CREATED)


def unfinished(schedule: Schedule) -> Unfinished | None:
    """What a fire of the schedule made and is not over, if there is one (the last of several)."""
    results = schedule.fires.filter(result_id__isnull=False).order_by()
    return actions.of(schedule).unfinished(results.values_list("result_id", flat=True))


def make(fire: Fire, outcome: str, *, reason: str = "") -> str:
    """Make what a fire is for, or say why it can't be."""
    try:
        fire.result_id = carry_out(fire)
    except APIException as error:
        return write(fire, Outcome.REFUSED, f"{reason} {sentence(error)}")
    return write(fire, outcome, reason)


def carry_out(fire: Fire, account: Account | None = None) -> uuid.UUID:
    """What a fire makes; its idempotency key makes a second one impossible.

    Raises:
        APIException: if it can't be made now.
    """
    schedule = fire.schedule
    key = f"schedule {schedule.pk} {fire.fire_time.isoformat()}"
    return actions.of(schedule).make(schedule, account=account, key=key)


def write(fire: Fire, outcome: str, reason: str, account: Account | None = None) -> str:
    """Record the fire and what became of it."""
    fire.outcome = outcome
    fire.reason = " ".join(part for part in (reason.strip(), fire.reason) if part)
    if fire.pk is None:
        fire.save(force_insert=True)
    else:
        fire.save(update_fields=["result_id", "outcome", "reason"])
        Fire.objects.filter(pk=fire.pk).update(decided_at=Now())
    record(
        account=account,
        workspace=fire.schedule.workspace,
        action="schedule.fire",
        target=fire.schedule,
        details={
            "fire_time": fire.fire_time.isoformat(),
            "outcome": str(outcome),
            "reason": fire.reason,
            actions.of(fire.schedule).noun: str(fire.result_id) if fire.result_id else None,
        },
    )
    return str(outcome)


def spell(span: timedelta) -> str:
    """A span in whole units: ``3 h 12 min``."""
    minutes = int(span.total_seconds() // 60)
    days, hours = divmod(minutes // 60, 24)
    parts = [(days, "d"), (hours, "h"), (minutes % 60, "min")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "less than a minute"
