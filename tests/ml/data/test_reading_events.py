"""Bad events, each with a clear answer and nothing lost."""

from datetime import UTC, datetime

import pytest

from ml.contracts.mapping import parse_mapping
from ml.data.checks import UNFIT


def test_the_standard_tables(read_events):
    tables, report = read_events(
        "call,u1,u2,2025-01-01T00:00:00Z\nuse,u1,a1,2025-01-02T00:00:00Z\n"
    )
    assert tables.users.rows() == [("u1", 1.0, 2.0, "a", "b", "c", 0), ("u2", *[None] * 6)]
    assert tables.events["target_type"].to_list() == ["user", "app"]
    assert report.time_range == ("2025-01-01T00:00:00+00:00", "2025-01-02T00:00:00+00:00")


@pytest.mark.parametrize(
    ("line", "reason", "value"),
    [
        ("call,,u2,", "missing actor", ""),
        ("call,u1, ,", "missing target", ""),
        (",u1,u2,", "missing type", ""),
        ("fly,u1,u2,", "unknown type", "fly"),
        ("call,u1,u2,soon", "not a time", "soon"),
        ("call,u1,u2,1969-12-31T23:59:59Z", "time before 1970", "1969-12-31T23:59:59Z"),
        ("call,u1,u2,2025-07-02T00:00:01Z", "time in the future", "2025-07-02T00:00:01Z"),
        ("click,u1,zz,", "target is no known product or app, target_type needed", "zz"),
        ("click,u1,both,", "target is a product and an app, target_type needed", "both"),
        ("call,u1,u\x002,", UNFIT, "u\x002"),
        ("call,u1", "has 2 fields, expected 4", "call,u1"),
    ],
)
def test_events_that_are_rejected(read_events, line, reason, value):
    tables, report = read_events(f"use,u1,a1,\n{line}\nuse,u2,a1,\n")
    assert tables.events["actor"].to_list() == ["u1", "u2"]
    assert report.tables["events"].reasons == {reason: 1}
    assert [(e.line, e.value, e.reason) for e in report.rejected] == [(3, value, reason)]


def test_an_event_a_day_ahead_is_not_the_far_future(read_events):
    tables, _ = read_events("call,u1,u2,2025-07-01T23:00:00Z\n")
    assert tables.events.height == 1


def test_a_time_without_zone_is_utc_and_said(read_events):
    tables, report = read_events("call,u1,u2,2025-01-01 10:00\ncall,u1,u2,\n")
    assert tables.events["timestamp"].to_list() == [datetime(2025, 1, 1, 10, tzinfo=UTC), None]
    assert report.times_without_zone == 1
    assert "1 times without a zone were taken as UTC" in report.warnings
    assert "1 events have no time" in report.warnings


def test_unknown_ends_become_nodes(read_events):
    lines = "call,new,u1,\ncall,u1,new,\norder,u1,p9,\norder,newer,p9,\nuse,u1,a9,\n"
    tables, report = read_events(lines)
    assert tables.events.height == 5
    assert tables.users["user_id"].to_list() == ["u1", "u2", "new", "newer"]
    assert tables.users.row(2)[1:] == (None,) * 6
    assert tables.products["product_id"].to_list() == ["p1", "both", "p9"]
    assert report.created == {"user": 2, "product": 1, "app": 1}
    assert report.created_users == 2
    assert report.dangling == {"user": 3, "product": 2, "app": 1}


def test_the_target_of_a_click_is_looked_up(read_events):
    tables, _ = read_events("click,u1,p1,\nclick,u1,a1,\norder,u1,p7,\nclick,u1,p7,\n")
    assert tables.events["target_type"].to_list() == ["product", "app", "product", "product"]


def test_a_target_type_that_is_given(read_events):
    lines = "click,u1,both,app\nclick,u1,p1,shop\nuse,u1,a1,product\nuse,u1,a1,\n"
    tables, report = read_events(lines, "type,actor,target,target_type\n")
    assert tables.events["target_type"].to_list() == ["app", "app"]
    assert [entry.line for entry in report.rejected] == [3, 4]
    assert set(report.tables["events"].reasons) == {"no edge of this type to this target_type"}


def test_repeated_event_ids(read, rejected):
    events = "event_id,type,actor,target\ne1,call,u1,u2\ne1,call,u1,u3\n,call,u1,u4\n,call,u1,u4\n"
    tables, report = read(events, parse_mapping(None), "events.csv")
    assert tables.events["target"].to_list() == ["u2", "u4", "u4"]
    assert report.duplicates == {"events": 1}
    assert rejected(report) == [(3, "event_id", "e1", "duplicate event_id", "row")]
    assert tables.users["user_id"].to_list() == ["u1", "u2", "u4"]
    assert report.created == {}


def test_narrow_tables_of_other_names(read):
    mapping = parse_mapping(
        {
            "format": "narrow",
            "tables": {
                "events": {
                    "file": "log.csv",
                    "target_type": "product",
                    "columns": {
                        "visitor": {"role": "actor"},
                        "item": {"role": "target"},
                        "what": {"role": "type", "values": {"View": "click", "buy": "order"}},
                        "at": {"role": "time", "unit": "ms"},
                    },
                }
            },
        }
    )
    log = "visitor,item,what,at\n1,i1,view,1700000000000\n2,i1,BUY,1700000001000\n2,i2,cart,17\n"
    tables, report = read(log, mapping, "renamed.csv")
    assert tables.events["type"].to_list() == ["click", "order"]
    assert tables.users.rows() == [("1",), ("2",)]
    assert tables.products.rows() == [("i1", "i1")]
    assert report.tables["events"].reasons == {"unknown type": 1}
    assert [node.name for node in tables.schema.nodes] == ["user", "product"]


def test_exact_repeats_are_kept_and_said_with_and_without_times(read_events):
    timed, untimed = "call,u1,u2,2025-01-01\n", "call,u1,u2,\n"
    tables, report = read_events(timed * 3 + untimed * 4)
    assert tables.events.height == 7
    assert "2 events repeat another one to the letter; they are kept" in report.warnings
    assert any("3 events without a time repeat another one" in w for w in report.warnings)


def test_events_with_an_id_of_their_own_repeat_none(read):
    mapping = parse_mapping({"format": "narrow", "tables": {"events": [{"columns": {
        "id": {"role": "event_id"}, "who": {"role": "actor"}, "whom": {"role": "target"},
    }, "type": "call"}]}})  # fmt: skip
    _, report = read("id,who,whom\n1,a,b\n2,a,b\n", mapping, "log.csv")
    assert not any("repeat" in warning for warning in report.warnings)
