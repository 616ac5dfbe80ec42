"""Bad tables, each with a clear answer and nothing lost."""

import polars as pl
import pytest

from ml.contracts.mapping import parse_mapping
from ml.data.preview import preview
from ml.data.tables import DatasetError, Limits, load_tables, save_tables


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


def test_missing_and_duplicate_ids(read, rejected):
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
def test_a_number_that_is_none_costs_the_value_not_the_row(read, cell, rejected):
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


def test_a_decimal_comma(read, rejected, people):
    data = people
    data["columns"]["fee"]["decimal"] = ","
    text = "id;fee;plan;tv;churn\nu1;1.234,5;a;;\nu2;7;a;;\nu3;1,2,3;a;;\n"
    tables, report = read(text, parse_mapping(data))
    assert tables.users["fee"].to_list() == [1234.5, 7.0, None]
    assert rejected(report)[0][2] == "1,2,3"


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1.234", 1234.0), ("-1.234.567,8", -1234567.8), (",5", 0.5), ("1e3", 1000.0),
        ("19.99", None), ("12.34,5", None), ("1.2345", None), (".5", None), ("1,234.5", None),
    ],
)  # fmt: skip
def test_a_point_beside_decimal_commas_is_between_thousands_or_wrong(read, people, cell, value):
    people["columns"]["fee"]["decimal"] = ","
    tables, report = read(f"id;fee;plan;tv;churn\nu1;{cell};a;;\n", parse_mapping(people))
    assert tables.users["fee"].to_list() == [value]
    assert len(report.rejected) == (value is None)


def test_rows_of_another_width(read, rejected):
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


THREE = {"id": {"role": "id"}, "x": {"role": "numeric"}, "y": {"role": "categorical"}}


def three(changed, rows=1000):
    """``id,x,y`` with 1,000 rows, some of them (by number, from 0) changed."""
    lines = [changed.get(i, f"{i},1,fine") for i in range(rows)]
    return "id,x,y\n" + "\n".join(lines) + "\n", parse_mapping({"format": "wide", "columns": THREE})


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_quote_that_is_never_closed_is_an_error(read, newline):
    text, mapping = three({5: '5,1,"oops'})
    with pytest.raises(
        DatasetError, match=r"quote is opened in line 7 and never closed.*line 1001"
    ):
        read(text.replace("\n", newline), mapping)


@pytest.mark.parametrize(
    "text", ['id,x,"y\n1,1,a\n', 'id,x,y\n1,1,"', 'id,x,y\n1,1,"a\n', 'id,x,y\n1,1,a\n"']
)
def test_nor_may_it_be_left_open_in_the_header_or_the_last_line(read, text):
    with pytest.raises(DatasetError, match=r"quote is opened in line \d and never closed"):
        read(text, three({})[1])


def test_a_last_line_without_newline_is_no_open_quote(read):
    tables, _ = read('id,x,y\n1,1,a\n2,1,"b"', three({})[1])
    assert tables.users["y"].to_list() == ["a", "b"]


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        ('50,1,"fine"', "a quote opened in this row takes in the lines after it"),
        ('50,1,fine"', "a quote opened in this row takes in the lines after it"),
        ('50,fine",1', "has 4 fields, expected 3"),
    ],
)
def test_a_quote_that_a_later_one_closes_costs_rows_but_says_where(read, rejected, last, reason):
    text, mapping = three({5: '5,1,"oops', 50: last})
    tables, report = read(text, mapping)
    assert tables.users["user_id"].to_list() == [str(i) for i in range(1000) if not 5 <= i <= 50]
    ((line, column, value, why, effect),) = rejected(report)
    assert (line, column, why, effect) == (7, "", reason, "row")
    assert value.startswith("5,1,oops\n6,1,fine")
    assert any("took in the 45 lines after" in warning for warning in report.warnings) == (
        "quote" in reason
    )


def test_texts_of_several_lines_are_kept(read):
    text, mapping = three(
        {5: '5,1,"dear, dear\nfriend, of, mine\nbye"', 7: '7,1,"a\nb,c,d"'}, rows=9
    )
    tables, report = read(text, mapping)
    assert report.rejected == []
    assert tables.users["y"][5] == "dear, dear\nfriend, of, mine\nbye"
    assert tables.users["y"][7] == "a\nb,c,d"


def test_a_preview_says_it_too(tmp_path):
    path = tmp_path / "people"
    path.write_text(three({5: '5,1,"oops'})[0])
    assert len(preview(path, filename="people.csv", rows=5)["files"][0]["rows"]) == 5
    with pytest.raises(DatasetError, match="opened in line 7 and never closed"):
        preview(path, filename="people.csv", rows=6)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "utf-32"]
)
def test_delimiters_and_encodings_are_found(read, delimiter, encoding):
    text = "id,fee,plan,tv,churn\nu1,5,Zürich €,Yes,No\nu2,6,b,No,Yes\n".replace(",", delimiter)
    tables, report = read(text.encode(encoding))
    assert tables.users.rows() == [("u1", 5.0, "Zürich €", 0), ("u2", 6.0, "b", 1)]
    assert report.files[0].delimiter == delimiter
    assert any("is not UTF-8" in w for w in report.warnings) == (encoding == "cp1252")


def test_a_given_encoding_is_kept_to(read, people):
    mapping = parse_mapping({**people, "encoding": "utf-8"})
    with pytest.raises(DatasetError, match="is not utf-8"):
        read("id,fee,plan,tv,churn\nu1,5,Zürich,Yes,No\n".encode("cp1252"), mapping)
    latin = parse_mapping({**people, "encoding": "latin-1"})
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
        read("product_id,price,name\np1,9.5,TV\n", parse_mapping(None), "products.csv")


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
    pl.DataFrame({"id": [1], "at": [None]}).write_parquet(path)
    assert preview(path, filename="p.parquet")["files"][0]["rows"] == [["1", None]]
