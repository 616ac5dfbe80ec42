"""Cron expressions in a timezone: which moments they name.

The arithmetic is cronsim's, which follows Debian's cron, also where clocks are changed:

- An expression with fixed minutes and hours (neither field begins with ``*``) names each local
  time once. A time that does not exist is the first minute after the gap; of a time that exists
  twice it is the first.
- With ``*`` in front of the minutes or the hours it follows the real clock: what does not exist
  does not happen, what exists twice happens twice.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

FIELDS = 5
EXPECTED = (
    "expected five fields: minute hour day-of-month month day-of-week, for example 0 3 * * MON-FRI"
)


class BadCron(ValueError):
    """An expression that names no moments."""


def check(expression: str, timezone: str) -> None:
    """Raises: BadCron if this is no expression of five fields, or if its time never comes."""
    try:
        first = next(times(expression, timezone, after=datetime(2000, 1, 1, tzinfo=UTC)), None)
    except CronSimError as error:
        raise BadCron(f"got {expression!r}: {str(error).lower()}; {EXPECTED}") from error
    if first is None:
        raise BadCron(f"got {expression!r}: this time never comes")


def known_timezone(name: str) -> bool:
    """Whether the time zone database has a zone of this name, such as ``Europe/Berlin``."""
    return name in available_timezones()


def times(expression: str, timezone: str, *, after: datetime) -> Iterator[datetime]:
    """The moments later than ``after``, in order, in UTC.

    Ends where the next one is more than fifty years away.

    Raises:
        BadCron: for another number of fields than five.
        cronsim.CronSimError: for fields that are not right.
    """
    if len(expression.split()) != FIELDS:
        raise BadCron(f"got {expression!r} with {len(expression.split())} fields; {EXPECTED}")
    zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
    moments = CronSim(expression, after.astimezone(zone))
    return _ascending(moments, after)


def _ascending(moments: Iterator[datetime], after: datetime) -> Iterator[datetime]:
    """In UTC, without what is not later than the one before.

    Where a local hour comes twice, cronsim, asked in the second one, names moments of the first.
    """
    last = after
    for one in moments:
        moment = one.astimezone(UTC)
        if moment > last:
            last = moment
            yield moment


def due(expression: str, timezone: str, *, after: datetime, until: datetime) -> list[datetime]:
    """The moments later than ``after`` and not later than ``until``, in order."""
    moments = []
    for moment in times(expression, timezone, after=after):
        if moment > until:
            break
        moments.append(moment)
    return moments


def following(expression: str, timezone: str, *, after: datetime, count: int = 1) -> list[datetime]:
    """The next ``count`` moments later than ``after`` (fewer where there are no more)."""
    return list(islice(times(expression, timezone, after=after), count))
