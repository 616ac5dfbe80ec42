"""Bad input, each with a clear answer and nothing lost: read == kept + rejected, always."""

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from ml.data.checks import UNFIT
from ml.data.mapping import parse_mapping
from ml.data.tables import DatasetError, Limits, load_tables, preview, read_tables, save_tables

NOW = datetime(2025, 7, 1, tzinfo=UTC)
PEOPLE = parse_mapping(
    {
        "format": "wide",
        "columns": {
            "id": {"role": "id"},
            "fee": {"role": "numeric"},
            "plan": {"role": "categorical"},
            "tv": {"role": "product", "name": "TV"},
            "churn": {"role": "label"},
        },
    }
)
USERS = (
    "user_id,monthly_fee,tenure_months,plan,level,device_brand,churn\nu1,1,2,a,b,c,0\nu2,,,,,,\n"
)
PRODUCTS = "product_id,price,name\np1,9.5,TV\nboth,1,x\n"
APPS = "app_id,name\na1,Chat\nboth,y\n"
EVENTS = "type,actor,target,timestamp\n"


def check_sums(report):
    assert "\\u0000" not in json.dumps(report.to_dict())
    for quality in report.tables.values():
        assert quality.rows_read == quality.rows_kept + sum(quality.reasons.values())


@pytest.fixture
def read(tmp_path):
    def reading(data, mapping=PEOPLE, filename="people.csv", **options):
        path = tmp_path / "received"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        tables, report = read_tables(path, mapping, filename=filename, now=NOW, **options)
        check_sums(report)
        assert [entry.name for entry in tmp_path.iterdir()] == ["received"]
        return tables, report

    return reading


@pytest.fixture
def read_events(read):
    def reading(lines, header=EVENTS):
        files = {"users.csv": USERS, "products.csv": PRODUCTS, "apps.csv": APPS}
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, content in {**files, "events.csv": header + lines}.items():
                archive.writestr(name, content)
        return read(out.getvalue(), parse_mapping(None), "upload.zip")

    return reading


def rejected(report):
    return [(e.line, e.column, e.value, e.reason, e.effect) for e in report.rejected]


def test_a_wide_table(read):
    tables, report = read("id,fee,plan,tv,churn\nu1,5,a,Yes,No\nu2,6.5,b,no,YES\n")
    assert tables.users.rows() == [("u1", 5.0, "a", 0), ("u2", 6.5, "b", 1)]
    assert tables.products.rows() == [("TV", "TV")]
    assert tables.events.select("type", "actor", "target", "target_type").rows() == [
        ("order", "u1", "TV", "product")
    ]
    assert report.label == {"positive": 1, "negative": 1, "missing": 0}
    assert report.made_events == 1
    assert tables.labelled.rows() == [("u1", 0), ("u2", 1)]


def test_a_column_the_file_lacks(read):
    with pytest.raises(DatasetError, match=r"no column 'fee'.*it has \['id', 'price'\]"):
        read("id,price\nu1,1\n")


def test_a_column_the_mapping_does_not_name(read):
    tables, report = read("id,fee,plan,tv,churn,extra\nu1,5,a,Yes,No,x\n")
    assert "extra" not in tables.users.columns
    assert any("doesn't name: ['extra']" in warning for warning in report.warnings)


def test_a_column_named_twice(read):
    with pytest.raises(DatasetError, match="the column 'fee' twice"):
        read("id,fee,plan,tv,churn,fee\nu1,5,a,Yes,No,6\n")


def test_missing_and_duplicate_ids(read):
    tables, report = read("id,fee,plan,tv,churn\nu1,1,a,,\n ,2,a,Yes,\nu1,3,a,Yes,\nu2,4,a,,\n")
    assert tables.users.select("user_id", "fee").rows() == [("u1", 1.0), ("u2", 4.0)]
    assert tables.events.is_empty()
    assert report.tables["users"].reasons == {"missing id": 1, "duplicate id": 1}
    assert report.duplicates == {"users": 1}
    assert rejected(report) == [
        (3, "id", None, "missing id", "row"),
        (4, "id", "u1", "duplicate id", "row"),
    ]


@pytest.mark.parametrize("cell", ["abc", "NaN", "inf", "-Infinity", "1e999", "5 EUR"])
def test_a_number_that_is_none_costs_the_value_not_the_row(read, cell):
    tables, report = read(f"id,fee,plan,tv,churn\nu1,{cell},a,,\nu2,2,a,,\n")
    assert tables.users["fee"].to_list() == [None, 2.0]
    assert report.tables["users"].value_reasons == {"not a finite number": 1}
    assert rejected(report) == [(2, "fee", cell, "not a finite number", "value")]
    assert report.tables["users"].rows_rejected == 0


def test_blanks_are_missing_not_wrong(read):
    tables, report = read("id,fee,plan,tv,churn\nu1, ,,,\n")
    assert tables.users.rows() == [("u1", None, None, None)]
    assert report.tables["users"].blanks == {"fee": 1, "plan": 1, "churn": 1}
    assert report.rejected == []


def test_ids_and_words_that_no_database_takes(read):
    text = f"id,fee,plan,tv,churn\nu\x001,1,a,,\n{'u' * 201},1,a,,\nu3,1,a\x00b,,\n"
    tables, report = read(text + "u4,1,a,,\n" * 1)
    assert tables.users.select("user_id", "plan").rows() == [("u3", None), ("u4", "a")]
    assert report.tables["users"].rows_rejected == 2
    assert report.tables["users"].value_reasons == {"has a NUL character": 1}


def test_a_decimal_comma(read):
    data = PEOPLE.to_dict()
    data["columns"]["fee"]["decimal"] = ","
    text = "id;fee;plan;tv;churn\nu1;1.234,5;a;;\nu2;7;a;;\nu3;1,2,3;a;;\n"
    tables, report = read(text, parse_mapping(data))
    assert tables.users["fee"].to_list() == [1234.5, 7.0, None]
    assert rejected(report)[0][2] == "1,2,3"


def test_rows_of_another_width(read):
    tables, report = read("id,fee,plan,tv,churn\nu1,1,a,,,more\nu2\n\nu3,1,a,,\n")
    assert tables.users["user_id"].to_list() == ["u3"]
    assert rejected(report) == [
        (2, "", "u1,1,a,,,more", "has 6 fields, expected 5", "row"),
        (3, "", "u2", "has 1 fields, expected 5", "row"),
    ]
    assert "people.csv: skipped 1 empty lines" in report.warnings


def test_lines_are_those_of_the_file_also_after_quoted_newlines(read):
    tables, report = read('id,fee,plan,tv,churn\nu1,1,"a\nb, ""c""",,\nu2,x,a,,\n')
    assert tables.users["plan"].to_list() == ['a\nb, "c"', "a"]
    assert [entry.line for entry in report.rejected] == [4]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "utf-32"]
)
def test_delimiters_and_encodings_are_found(read, delimiter, encoding):
    text = "id,fee,plan,tv,churn\nu1,5,Zürich €,Yes,No\nu2,6,b,No,Yes\n".replace(",", delimiter)
    tables, report = read(text.encode(encoding))
    assert tables.users.rows() == [("u1", 5.0, "Zürich €", 0), ("u2", 6.0, "b", 1)]
    assert report.files[0]["delimiter"] == delimiter
    assert any("is not UTF-8" in w for w in report.warnings) == (encoding == "cp1252")


def test_a_given_encoding_is_kept_to(read):
    mapping = parse_mapping({**PEOPLE.to_dict(), "encoding": "utf-8"})
    with pytest.raises(DatasetError, match="is not utf-8"):
        read("id,fee,plan,tv,churn\nu1,5,Zürich,Yes,No\n".encode("cp1252"), mapping)
    latin = parse_mapping({**PEOPLE.to_dict(), "encoding": "latin-1"})
    assert read("id,fee,plan,tv,churn\nu1,5,ü,,\n".encode("latin-1"), latin)[0].users[0, 2] == "ü"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b" \n \n", "is empty"),
        (b"id,fee,plan,tv,churn\n", "has no row that can be used: there are none"),
        (b"id,fee,plan,tv,churn\n,1,a,,\n", "1 missing id in users"),
        (b"\x00\x01\x02\xff" * 100, "is binary"),
        (b'id,fee,plan,tv,churn\nu1,1,"' + b"x" * (2 << 20), "is a quote left open"),
    ],
)
def test_files_that_cannot_be_used(read, data, message):
    with pytest.raises(DatasetError, match=message):
        read(data)


def test_a_product_nobody_has_and_labels_all_alike_are_said(read):
    _, report = read("id,fee,plan,tv,churn\nu1,1,a,nope,No\n")
    assert any("nobody has 'TV'" in warning for warning in report.warnings)
    assert any("all labels 'churn' are the same" in warning for warning in report.warnings)


def parquet(**columns):
    out = io.BytesIO()
    pl.DataFrame(columns).write_parquet(out)
    return out.getvalue()


def test_parquet_with_text_where_numbers_are_expected(read):
    data = parquet(
        id=[1.0, 2.0, None],
        fee=["1.5", "abc", "3"],
        plan=[7, 8, 9],
        tv=[True, False, None],
        churn=[1.0, 0.0, None],
    )
    tables, report = read(data, filename="people.parquet")
    assert tables.users.rows() == [("1", 1.5, "7", 1), ("2", None, "8", 0)]
    assert tables.events["actor"].to_list() == ["1"]
    assert rejected(report) == [
        (3, "id", None, "missing id", "row"),
        (2, "fee", "abc", "not a finite number", "value"),
    ]


def test_parquet_with_lists_or_damage(read):
    columns = {"fee": ["1"], "plan": [["a", "b"]], "tv": ["x"], "churn": ["0"]}
    with pytest.raises(DatasetError, match=r"the column 'plan' is List"):
        read(parquet(id=["u1"], **columns), filename="people.parquet")
    whole = parquet(id=["u1"] * 1000, **{name: value * 1000 for name, value in columns.items()})
    for part in (whole[:200], whole[:4] + b"\xff" * 100 + whole[104:], b"PAR1" + b"\x00" * 50):
        with pytest.raises(DatasetError, match=r"damaged|List"):
            read(part, filename="people.parquet")


def test_parquet_that_aborts_the_decoder(read):
    """One byte of each of a few places was changed; Polars 1.44 ends the process on it."""
    data = (Path(__file__).parent / "aborts_decoder.parquet").read_bytes()
    with pytest.raises(DatasetError, match=r"people.parquet is a damaged Parquet file"):
        read(data, filename="people.parquet")


def test_parquet_that_unpacks_to_too_much(read):
    data = parquet(id=["u1"] * 300_000, fee=[1.0] * 300_000, plan=["a"] * 300_000)
    assert len(data) < 100_000
    with pytest.raises(DatasetError, match="unpacks to more than 1000000 bytes, the limit"):
        read(data, filename="people.parquet", limits=Limits(unpacked_bytes=1_000_000))


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


def test_repeated_event_ids(read):
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


def test_files_that_are_not_there(read):
    narrow = {
        "events": {"type": "call", "columns": {"a": {"role": "actor"}, "b": {"role": "target"}}}
    }
    narrow["users"] = {"columns": {"id": {"role": "id"}}}
    with pytest.raises(DatasetError, match="has no file for users"):
        read("a,b\nx,y\n", parse_mapping({"format": "narrow", "tables": narrow}), "events.csv")
    with pytest.raises(DatasetError, match="a mapping that says what the columns mean"):
        read("a,b\nx,y\n", parse_mapping(None), "things.csv")
    with pytest.raises(DatasetError, match="neither users nor events"):
        read(PRODUCTS, parse_mapping(None), "products.csv")


def test_only_the_first_rejected_are_shown_but_all_counted(read):
    rows = "".join(f"u{i},x,a,,\n" for i in range(50)) + ",1,a,,\n" * 30
    _, report = read(f"id,fee,plan,tv,churn\n{rows}", limits=Limits(rejected_rows_shown=40))
    assert len(report.rejected) == 40
    assert report.tables["users"].value_reasons["not a finite number"] == 50
    assert report.tables["users"].reasons["missing id"] == 30


def test_long_values_are_cut_in_the_report(read):
    _, report = read(f"id,fee,plan,tv,churn\nu1,{'x' * 900},a,,\n")
    assert len(report.to_dict()["rejected"][0]["value"]) == 201


def test_saved_tables_load_alike(read_events, tmp_path_factory):
    tables, _ = read_events("call,u1,u2,2025-01-01T00:00:00Z\norder,u1,p1,\n")
    folder = tmp_path_factory.mktemp("saved")
    paths = save_tables(tables, folder)
    assert sorted(path.name for path in paths) == sorted(path.name for path in folder.iterdir())
    loaded = load_tables(folder)
    assert loaded.schema == tables.schema
    for name in ("users", "products", "apps", "events"):
        assert getattr(loaded, name).equals(getattr(tables, name))


def test_preview(tmp_path):
    path = tmp_path / "people"
    path.write_bytes("id;näme\nu1;a\nu2;b\nu3;c\n".encode("cp1252"))
    shown = preview(path, filename="people.csv", rows=2)
    assert shown["files"] == [
        {
            "name": "people.csv",
            "kind": "csv",
            "encoding": "cp1252",
            "delimiter": ";",
            "columns": ["id", "näme"],
            "rows": [["u1", "a"], ["u2", "b"]],
        }
    ]
    path.write_bytes(parquet(id=[1], at=[None]))
    assert preview(path, filename="p.parquet")["files"][0]["rows"] == [["1", None]]
