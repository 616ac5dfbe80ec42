"""Rows that are left out, or point at nothing, are said where they are many."""

import io
import zipfile

import pytest

from ml.contracts.mapping import parse_mapping

USERS = "user_id\n" + "".join(f"u{i}\n" for i in range(10))
CALLS = {"columns": {"who": {"role": "actor"}, "whom": {"role": "target"}}, "type": "call"}


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.csv", content)
    return out.getvalue()


def narrow(*events, **time):
    columns = CALLS["columns"] | ({"at": {"role": "time", **time}} if time else {})
    users = {"file": "users.csv", "columns": {"user_id": {"role": "id"}}}
    tables = [{**CALLS, "columns": columns, "file": f"{name}.csv"} for name in events]
    return parse_mapping({"format": "narrow", "tables": {"users": users, "events": tables}})


def calls(times):
    return "who,whom,at\n" + "".join(f"u1,u2,{time}\n" for time in times)


@pytest.mark.parametrize(("bad", "expected"), [(0, False), (9, False), (10, True), (61, True)])
def test_many_rejected_rows(read, bad, expected):
    times = ["05/13/2024"] * bad + ["13/05/2024"] * (100 - bad)
    data = zipped(users=USERS, log=calls(times))
    _, report = read(data, narrow("log", format="%d/%m/%Y"), "up.zip")
    assert report.tables["events"].rows_rejected == bad
    found = [warning for warning in report.warnings if "rejected" in warning]
    assert len(found) == expected
    if expected:
        assert f"log.csv: {bad} of the 100 rows ({bad} %) were rejected" in found[0]
        assert f"{bad} not a time, as '05/13/2024' in the column 'at', line 2" in found[0]
        assert "format" in found[0]


def test_a_file_that_is_lost_among_larger_ones_is_said_with_its_reasons(read):
    lost = "who,whom\n,u2\nu1,\nu1,\nu3\n"
    whole = "who,whom\n" + "u1,u2\n" * 100
    _, report = read(zipped(users=USERS, a=whole, b=lost), narrow("a", "b"), "up.zip")
    (warning,) = [warning for warning in report.warnings if "rejected" in warning]
    assert "b.csv: 4 of the 4 rows (100 %) were rejected: 2 missing target" in warning
    assert "1 missing actor" in warning
    assert "1 has 1 fields, expected 2, as 'u3', line 5" in warning


def test_examples_are_there_though_the_report_shows_no_more_rows(read, monkeypatch):
    monkeypatch.setattr("ml.data.quality.QualityReport._show", lambda self, entry: None)
    _, report = read(zipped(users=USERS, log=calls(["soon"] * 9 + ["2025-01-01"])), narrow(
        "log", unit="iso"
    ), "up.zip")  # fmt: skip
    assert any("9 not a time, as 'soon'" in warning for warning in report.warnings)


@pytest.mark.parametrize(("strange", "expected"), [(0, False), (9, False), (10, True), (100, True)])
def test_many_events_of_users_that_the_table_lacks(read, strange, expected):
    log = "who,whom\n" + "U-1,u2\n" * strange + "u1,u2\n" * (100 - strange)
    _, report = read(zipped(users=USERS, log=log), narrow("log"), "up.zip")
    assert report.dangling["user"] == strange
    found = [warning for warning in report.warnings if "'U-1'" in warning]
    assert len(found) == expected
    if expected:
        assert f"{strange} of the 100 events with users ({strange} %)" in found[0]
        assert "'u0'" in found[0]


def test_the_share_of_products_is_one_of_the_events_with_products(read_events):
    _, report = read_events("call,u1,u2,\n" * 50 + "order,u1,p9,\norder,u1,p1,\n")
    (warning,) = [warning for warning in report.warnings if "'p9'" in warning]
    assert "1 of the 2 events with products (50 %)" in warning


def test_events_without_a_table_are_not_strange(read):
    data = "who,whom\n" + "u1,u2\n" * 5
    mapping = parse_mapping({"format": "narrow", "tables": {"events": [CALLS]}})
    _, report = read(data, mapping, "log.csv")
    assert not any("does not have" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("unit", "time", "expected"),
    [("ms", 1_750_000_000, True), ("s", 1_750_000_000, False), ("s", 320_000_000, False)],
)
def test_seconds_read_as_milliseconds_are_asked_about(read, unit, time, expected):
    data = zipped(users=USERS, log=calls([time, time - 1]))
    _, report = read(data, narrow("log", unit=unit), "up.zip")
    found = [warning for warning in report.warnings if "were they seconds" in warning]
    assert len(found) == expected
    if expected:
        assert "the times end in 1970" in found[0]


def test_milliseconds_read_as_seconds_say_to_look_at_the_unit(read):
    data = zipped(users=USERS, log=calls([1_750_000_000_000, 1_700_000_000]))
    _, report = read(data, narrow("log", unit="s"), "up.zip")
    assert any("1 time in the future" in w and "unit" in w for w in report.warnings)
