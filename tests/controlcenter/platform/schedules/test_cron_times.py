"""Which moments an expression names: beside an oracle that looks at every minute."""

import string
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSimError
from hypothesis import given
from hypothesis import strategies as st

from controlcenter.platform.schedules import cron

MINUTE = timedelta(minutes=1)
# Each with the moment in UTC of one change of its clocks.
CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2026, 4, 23, 22, tzinfo=UTC)),  # midnight does not exist
    ("UTC", datetime(2026, 6, 1, 12, tzinfo=UTC)),
]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def one(expression, timezone, after):
    return cron.following(expression, timezone, after=at(after))[0]


@pytest.mark.parametrize(
    ("expression", "timezone", "after", "expected"),
    [
        ("0 3 * * MON-FRI", "UTC", "2026-01-02 03:00", "2026-01-05 03:00"),
        ("*/15 * * * *", "UTC", "2026-01-01 00:01", "2026-01-01 00:15"),
        ("0 0 29 2 *", "UTC", "2026-01-01 00:00", "2028-02-29 00:00"),
        ("0 12 L * *", "UTC", "2026-02-01 00:00", "2026-02-28 12:00"),
        ("0 9 * * MON#1", "UTC", "2026-01-06 00:00", "2026-02-02 09:00"),
        ("0 9 * * 5L", "UTC", "2026-02-01 00:00", "2026-02-27 09:00"),
        ("0 9 LW * *", "UTC", "2026-02-01 00:00", "2026-02-27 09:00"),
        # Either of two days; both where one of them begins with a star.
        ("0 0 13 * FRI", "UTC", "2026-03-01 00:00", "2026-03-06 00:00"),
        ("0 0 */13 * FRI", "UTC", "2026-03-01 00:00", "2026-03-27 00:00"),
        ("0 3 * * *", "Europe/Berlin", "2026-07-01 00:00", "2026-07-01 01:00"),
        ("0 3 * * *", "Europe/Berlin", "2026-12-01 00:00", "2026-12-01 02:00"),
        # 02:30 does not exist on 29 March: the first minute after the gap, 03:00 in summer time.
        ("30 2 * * *", "Europe/Berlin", "2026-03-29 00:00", "2026-03-29 01:00"),
        # 02:30 comes twice on 25 October: the first one, in summer time.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 00:00", "2026-10-25 00:30"),
        # Looked at between the two: not again.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 01:10", "2026-10-26 01:30"),
    ],
)
def test_the_next_moment(expression, timezone, after, expected):
    assert one(expression, timezone, after) == at(expected)


def test_with_a_star_the_real_clock_is_followed():
    """The hour that is missing does not happen, the hour that comes twice happens twice."""
    spring = cron.due(
        "*/30 2 * * *", "Europe/Berlin", after=at("2026-03-28 12:00"), until=at("2026-03-29 12:00")
    )
    autumn = cron.due(
        "*/30 2 * * *", "Europe/Berlin", after=at("2026-10-24 12:00"), until=at("2026-10-25 12:00")
    )
    assert spring == []
    assert autumn == [
        at("2026-10-25 00:00"), at("2026-10-25 00:30"), at("2026-10-25 01:00"),
        at("2026-10-25 01:30"),
    ]  # fmt: skip


def oracle(minutes, hours, zone, begin, end):
    """Every minute in ``(begin, end]`` that ``minutes hours * * *`` names in the zone.

    Args:
        minutes, hours: Sets, or None for ``*``.
    """
    span = int((end - begin) / MINUTE) + 3 * 24 * 60
    real = [begin - 36 * 60 * MINUTE + index * MINUTE for index in range(span)]
    local = [moment.astimezone(zone).replace(tzinfo=None) for moment in real]
    if minutes is None or hours is None:
        found = {
            moment
            for moment, shown in zip(real, local, strict=True)
            if (minutes is None or shown.minute in minutes)
            and (hours is None or shown.hour in hours)
        }
    else:
        first_at: dict[datetime, datetime] = {}
        for moment, shown in zip(real, local, strict=True):
            first_at.setdefault(shown, moment)
        found, shown = set(), min(local)
        while shown <= max(local):
            if shown.minute in minutes and shown.hour in hours:
                after_gap = shown
                while after_gap not in first_at and after_gap < max(local):
                    after_gap += MINUTE
                if after_gap in first_at:
                    found.add(first_at[after_gap])
            shown += MINUTE
    return sorted(moment for moment in found if begin < moment <= end)


def written(values):
    return "*" if values is None else ",".join(str(value) for value in sorted(values))


@given(
    change=st.sampled_from(CHANGES),
    minutes=st.none() | st.sets(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.none() | st.sets(st.sampled_from([0, 1, 2, 3, 4, 12, 23]), min_size=1, max_size=3),
    begin=st.integers(-20 * 60, 5 * 60),
    length=st.integers(0, 30 * 60),
    second=st.integers(0, 59),
)
def test_where_clocks_change_it_is_what_an_oracle_finds(
    change, minutes, hours, begin, length, second
):
    timezone, moment = change
    begin = moment + begin * MINUTE + timedelta(seconds=second)
    end = begin + length * MINUTE
    found = cron.due(f"{written(minutes)} {written(hours)} * * *", timezone, after=begin, until=end)
    zone = ZoneInfo(timezone)
    whole = begin.replace(second=0)
    assert found == oracle(minutes, hours, zone, whole, end)


@given(
    change=st.sampled_from(CHANGES),
    expression=st.sampled_from(
        ["* * * * *", "30 2 * * *", "*/20 1-3 * * *", "0,30 2,3 * * *", "15 * * * *", "0 0 * * *"]
    ),
    cuts=st.lists(st.integers(0, 48 * 60), max_size=6),
)
def test_it_does_not_matter_from_where_one_looks(change, expression, cuts):
    """The moments of parts of a time are those of the whole: nothing twice, nothing left out."""
    timezone, moment = change
    begin, end = moment - timedelta(hours=24), moment + timedelta(hours=24)
    whole = cron.due(expression, timezone, after=begin, until=end)
    borders = [begin, *sorted(begin + cut * MINUTE for cut in cuts), end]
    parts = [
        cron.due(expression, timezone, after=early, until=late) for early, late in pairwise(borders)
    ]
    assert list(chain(*parts)) == whole


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("61 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * * * * *", "6 fields"),
        ("* * * *", "4 fields"),
        ("@daily", "1 fields"),
        ("", "0 fields"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("* * * * FRI-MON", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
    ],
)
def test_what_is_no_expression_is_told(expression, message):
    with pytest.raises(cron.BadCron, match=message):
        cron.check(expression, "UTC")


FIELD = st.text(alphabet="0123456789*/,-LW#MONJAN²", min_size=1, max_size=6)
LINE = st.lists(FIELD, min_size=5, max_size=5).map(" ".join)


@given(expression=LINE | st.text(alphabet=string.printable, max_size=40))
def test_any_text_is_refused_or_names_moments(expression):
    try:
        cron.check(expression, "Europe/Berlin")
    except cron.BadCron:
        return
    found = cron.following(expression, "Europe/Berlin", after=at("2026-01-01"), count=3)
    assert found == sorted(set(found))
    assert all(moment.second == 0 and moment.utcoffset() == timedelta(0) for moment in found)


def test_errors_of_cronsim_do_not_pass_the_check():
    assert issubclass(cron.BadCron, ValueError)
    with pytest.raises(CronSimError):
        next(cron.times("61 * * * *", "UTC", after=at("2026-01-01")))


def test_timezones_are_those_of_the_database():
    assert cron.known_timezone("Europe/Berlin")
    assert cron.known_timezone("UTC")
    assert not cron.known_timezone("Berlin")
    assert not cron.known_timezone("../../etc/passwd")
