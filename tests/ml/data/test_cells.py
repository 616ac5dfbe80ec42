"""From cells to values."""

from datetime import UTC, datetime

import polars as pl
import pytest

from ml.data import cells


def test_numbers_of_text():
    got = cells.numbers(pl.Series(["1", " 2.5 ", "", "  ", "NA", "x", "nan", "inf", "1e999", None]))
    assert got.values.to_list() == [1.0, 2.5] + [None] * 8
    assert got.blank.to_list() == [False, False, True, True, True, False, False, False, False, True]
    assert got.bad.to_list() == [False] * 5 + [True] * 4 + [False]


def test_numbers_of_numbers():
    got = cells.numbers(pl.Series([1.5, None, float("nan"), float("-inf")]))
    assert got.values.to_list() == [1.5, None, None, None]
    assert got.bad.to_list() == [False, False, True, True]


def test_text_of_other_types():
    assert cells.text(pl.Series([1.0, 2.5, None, float("nan")])).to_list() == [
        "1",
        "2.5",
        None,
        None,
    ]
    assert cells.text(pl.Series([7, None])).to_list() == ["7", None]
    assert cells.text(pl.Series([True, False])).to_list() == ["true", "false"]
    assert cells.text(pl.Series([" a ", " ", ""])).to_list() == ["a", None, None]
    with pytest.raises(TypeError, match="List"):
        cells.text(pl.Series([[1], [2]]))


def test_labels():
    series = pl.Series(["Yes", " yes", "NO", "", "True.", "1", "maybe"])
    got = cells.labels(series, (), ())
    assert got.values.to_list() == [1, 1, 0, None, 1, 1, 0]
    strict = cells.labels(series, ("Yes",), ("no", "1"))
    assert strict.values.to_list() == [1, 1, 0, None, 1, 0, None]
    assert strict.bad.to_list() == [False] * 6 + [True]
    assert cells.labels(pl.Series([1.0, 0.0, None]), ("1",), ()).values.to_list() == [1, 0, None]


def test_words_for_missing_are_no_labels_unless_they_are_named():
    series = pl.Series(["Yes", "NA", "null", "None", "n/a", "no"])
    got = cells.labels(series, (), ())
    assert got.values.to_list() == [1, None, None, None, None, 0]
    assert got.blank.to_list() == [False, True, True, True, True, False]
    strict = cells.labels(series, ("yes",), ("no",))
    assert strict.values.to_list() == [1, None, None, None, None, 0]
    assert not strict.bad.any()
    named = cells.labels(series, ("Yes", "na"), ("No", "NONE"))
    assert named.values.to_list() == [1, 1, None, 0, None, 0]


@pytest.mark.parametrize(
    ("written", "hour", "unzoned"),
    [
        ("2024-01-05", 0, True),
        ("2024-01-05T10:00:00Z", 10, False),
        ("2024-01-05 10:00", 10, True),
        ("2024-01-05T10:00:00.0+02:00", 8, False),
        ("2024-01-05T10:00:00-0500", 15, False),
        ("2024-01-05T10:00:00+02", 8, False),
        ("2024-01-05 10:00:00 UTC", 10, False),
    ],
)
def test_times_in_iso_8601(written, hour, unzoned):
    got = cells.times(pl.Series([written]))
    assert got.values.to_list() == [datetime(2024, 1, 5, hour, tzinfo=UTC)]
    assert got.unzoned.to_list() == [unzoned]


@pytest.mark.parametrize("written", ["2024-13-01", "yesterday", "1700000000", "20240105", "12:00"])
def test_what_is_no_time(written):
    got = cells.times(pl.Series([written, ""]))
    assert got.bad.to_list() == [True, False]
    assert got.blank.to_list() == [False, True]


@pytest.mark.parametrize(
    ("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)]
)
def test_times_in_numbers(unit, factor):
    second = 1_700_000_000
    expected = [datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)]
    assert cells.times(pl.Series([second * factor]), unit=unit).values.to_list() == expected
    got = cells.times(pl.Series([f" {second * factor}", "x", "1e300", ""]), unit=unit)
    assert got.values.to_list()[:1] == expected
    assert got.values[2].year == 5000
    assert got.bad.to_list() == [False, True, False, False]


def test_times_in_a_format():
    got = cells.times(pl.Series(["12/1/2010 8:26", "1.12.2010"]), format="%m/%d/%Y %H:%M")
    assert got.values.to_list() == [datetime(2010, 12, 1, 8, 26, tzinfo=UTC), None]
    assert got.bad.to_list() == [False, True]
    days = cells.times(pl.Series(["1.12.2010"]), format="%d.%m.%Y")
    assert days.values.to_list() == [datetime(2010, 12, 1, tzinfo=UTC)]


def test_times_of_parquet():
    naive = pl.Series(["2024-01-05 10:00"]).str.to_datetime()
    assert cells.times(naive).unzoned.to_list() == [True]
    zoned = naive.dt.replace_time_zone("Europe/Berlin")
    got = cells.times(zoned)
    assert got.values.to_list() == [datetime(2024, 1, 5, 9, tzinfo=UTC)]
    assert got.unzoned.to_list() == [False]
