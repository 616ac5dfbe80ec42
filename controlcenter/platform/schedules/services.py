"""What people and programs do with schedules; each function owns its transaction."""

from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from rest_framework.exceptions import NotFound, ValidationError

from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.audit.services import record
from controlcenter.platform.common import clock
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.schedules import actions, cron
from controlcenter.platform.schedules.firing import carry_out, decide, set_next, write
from controlcenter.platform.schedules.models import Fire, Outcome, Schedule

MAX_SCHEDULES = 100
TIME_FIELDS = frozenset({"cron", "timezone"})


def check(schedule: Schedule) -> None:
    """Raises: ValidationError or Conflict if the schedule's times or what it makes can't be."""
    if not cron.known_timezone(schedule.timezone):
        raise ValidationError(
            {"timezone": f"got {schedule.timezone!r}, expected a name such as Europe/Berlin or UTC"}
        )
    try:
        cron.check(schedule.cron, schedule.timezone)
    except cron.BadCron as error:
        raise ValidationError({"cron": str(error)}) from error
    actions.of(schedule).check(schedule)


def check_name(schedule: Schedule) -> None:
    others = Schedule.objects.filter(workspace=schedule.workspace_id, name=schedule.name)
    if others.exclude(pk=schedule.pk).exists():
        raise ValidationError({"name": f"there is a schedule {schedule.name!r} already"})


def current(schedule: Schedule) -> Schedule:
    """The schedule as it is now, locked; after the workspace, so that names stay unique.

    Raises:
        NotFound: if somebody deleted it meanwhile.
    """
    Workspace.objects.select_for_update().get(pk=schedule.workspace_id)
    locked = Schedule.objects.select_for_update(of=("self",))
    row = locked.select_related("workspace").filter(pk=schedule.pk).first()
    if row is None:
        raise NotFound(f"Schedule {schedule.name!r} was deleted meanwhile.")
    return row


def note(schedule: Schedule, account: Account, action: str, **details: Any) -> None:
    record(
        account=account,
        workspace=schedule.workspace,
        action=f"schedule.{action}",
        target=schedule,
        details={"name": schedule.name, **details},
    )


def details(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as the audit keeps them: those of the spec beside the others."""
    own = {name: value for name, value in fields.items() if name not in {"action", "spec"}}
    return own | fields.get("spec", {})


@transaction.atomic
def create(*, workspace: Workspace, account: Account, fields: dict[str, Any]) -> Schedule:
    """Add a schedule; the first fire time is the first after now.

    Args:
        fields: Columns of ``Schedule`` by name; ``action`` and the whole ``spec`` among them.

    Raises:
        ValidationError: for a cron expression or a timezone that is none, or a name that is taken.
        Conflict: if the workspace has too many, or for what its action refuses.
    """
    workspace = Workspace.objects.select_for_update().get(pk=workspace.pk)
    schedule = Schedule(workspace=workspace, created_by=account, **fields)
    schedule.decided_until = clock.now()
    check_name(schedule)
    check(schedule)
    if Schedule.objects.filter(workspace=workspace).count() >= MAX_SCHEDULES:
        raise Conflict(f"A workspace has at most {MAX_SCHEDULES} schedules: delete one first.")
    schedule.save(force_insert=True)
    set_next(schedule)
    note(schedule, account, "create", **details(fields))
    return Schedule.objects.select_related("created_by").get(pk=schedule.pk)


@transaction.atomic
def update(*, schedule: Schedule, account: Account, fields: dict[str, Any]) -> Schedule:
    """Change some columns, of ``spec`` some keys; nothing happens where nothing differs.

    What was due before a change is decided before it. Not so when the schedule is disabled: then
    what was due and what waited is left out. Enabled again, it goes on with the first fire time
    after now.

    Raises:
        ValidationError, Conflict: as ``create``.
    """
    schedule = current(schedule)
    before, spec = schedule.spec, fields.get("spec", {})
    spec = {key: value for key, value in spec.items() if key not in before or before[key] != value}
    fields = {**fields, "spec": {**before, **spec}}
    changed = {name for name, value in fields.items() if getattr(schedule, name) != value}
    if not changed:
        return schedule
    now = clock.now()
    stops = "enabled" in changed and schedule.enabled
    begins = "enabled" in changed and not schedule.enabled
    if schedule.enabled and not stops:
        decide(schedule, now)
    for name in changed:
        setattr(schedule, name, fields[name])
    if "name" in changed:
        check_name(schedule)
    if begins or changed & (TIME_FIELDS | {"spec"}):
        check(schedule)
    if begins or changed & TIME_FIELDS:
        schedule.decided_until = now
    if stops:
        give_up_waiting(schedule)
    schedule.save(update_fields=list(changed))
    Schedule.objects.filter(pk=schedule.pk).update(updated_at=Now())
    set_next(schedule)
    action = "disable" if stops else "enable" if begins else "update"
    note(
        schedule,
        account,
        action,
        **details({name: fields[name] for name in sorted(changed)} | {"spec": spec}),
    )
    return Schedule.objects.select_related("created_by").get(pk=schedule.pk)


def give_up_waiting(schedule: Schedule) -> None:
    waiting = schedule.fires.filter(outcome=Outcome.WAITING).first()
    if waiting is not None:
        waiting.reason = ""
        write(waiting, Outcome.SKIPPED, "The schedule was disabled while this one waited.")


@transaction.atomic
def delete(*, schedule: Schedule, account: Account) -> None:
    """Remove a schedule with the record of its fires; what they made stays."""
    schedule = current(schedule)
    note(schedule, account, "delete", cron=schedule.cron, timezone=schedule.timezone)
    schedule.delete()


@transaction.atomic
def fire_now(
    *, schedule: Schedule, account: Account, reason: str, key: str = ""
) -> tuple[Fire, bool]:
    """Make what the schedule makes now, by hand: whatever runs, also if the schedule is disabled.

    Args:
        key: ``Idempotency-Key``: the same key and reason give the fire of the first time.

    Returns:
        The fire, and whether it is new.

    Raises:
        Conflict, ValidationError: for what its action refuses, or for a key that was
            used with another reason.
    """
    schedule = current(schedule)
    earlier = schedule.fires.filter(key=key).first() if key else None
    if earlier is not None:
        if earlier.reason != reason:
            raise Conflict(f"Idempotency-Key {key!r} was used with another reason: send a new key.")
        return earlier, False
    fire = Fire(schedule=schedule, fire_time=clock.now(), asked_by=account.username, key=key)
    fire.result_id = carry_out(fire, account)
    write(fire, Outcome.CREATED, reason, account)
    return Fire.objects.get(pk=fire.pk), True
