"""Tables as they are published: with and without headers, with all kinds of separators."""

import re

import numpy as np
import polars as pl
import pytest

from benchmarks.interactions import columns_of, features_of, graph_of, read_interactions
from benchmarks.protocols import RATES

U_DATA = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n"
U_USER = "196|24|M|technician|85711\n186|53|F|other|94043\n22|23|M|writer|T8H1N\n"
U_ITEM = (
    "242|Kolya (1996)|24-Jan-1997||http://us.imdb.com/M/title-exact?Kolya%20(1996)|0|1\n"
    "302|Misérables, Les (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?M|0|0\n"
    "377|Heavyweights (1994)|01-Jan-1994||http://us.imdb.com/Title?Heavyweights|1|1\n"
)
COLLEGE = "1 2 1082040961\n3 4 1082155839\n5 2 1082414391\n"
RATINGS_DAT = "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n"
MOVIES_DAT = (
    "1193::One Flew Over the Cuckoo's Nest (1975)::Drama|War|Western|Film|Noir\n"
    '661::"Great Performances" Cats (1998)::Musical\n'
)


@pytest.fixture
def written(tmp_path):
    def write(name, text, encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize(
    ("name", "text", "columns", "expected"),
    [
        ("u.data", U_DATA, "124", [("22", "377"), ("196", "242"), ("186", "302")]),
        ("CollegeMsg.txt", COLLEGE, "123", [("1", "2"), ("3", "4"), ("5", "2")]),
        ("ratings.dat", RATINGS_DAT, "124", [("2", "1193"), ("1", "1193"), ("1", "661")]),
        ("a.csv", COLLEGE.replace(" ", ","), "123", [("1", "2"), ("3", "4"), ("5", "2")]),
        ("b.csv", COLLEGE.replace(" ", ";"), "123", [("1", "2"), ("3", "4"), ("5", "2")]),
        ("c.txt", COLLEGE.replace(" ", "|"), "123", [("1", "2"), ("3", "4"), ("5", "2")]),
        ("crlf.dat", RATINGS_DAT.replace("\n", "\r\n"), "12", None),
    ],
)
def test_without_a_header_no_line_is_lost(written, name, text, columns, expected):
    frame = read_interactions(written(name, text), list(columns), header=False)
    expected = expected or [("1", "1193"), ("1", "661"), ("2", "1193")]
    assert frame.select("src", "dst").rows() == expected
    if len(columns) == 3:
        times = sorted(float(time) for time in re.findall(r"\d+$", text, re.M))
        assert frame["time"].to_list() == times


@pytest.mark.parametrize(
    "text",
    [U_DATA, U_USER, U_ITEM, COLLEGE, RATINGS_DAT, MOVIES_DAT, "u,i,1.5\n", "u;1998-04-22\n"],
)
def test_a_row_is_not_taken_for_a_header(written, text):
    path = written("table", text)
    for read in (columns_of, features_of):
        with pytest.raises(SystemExit, match=r"line 1 .* --no-header"):
            read(path)
    with pytest.raises(SystemExit, match="--no-header"):
        read_interactions(path, ["1", "2"])


def test_a_header_is_not_taken_for_a_row(written):
    path = written("users.csv", "user,age\nu1,24\nu2,53\n")
    with pytest.raises(SystemExit, match=r"line 1 .*age.*--no-header"):
        features_of(path, header=False)
    assert columns_of(path) == ["user", "age"]


def test_a_header_with_blanks_in_its_names_is_separated_by_commas(written):
    path = written("a.csv", "user id,item id of it\nu1,a b c d\n")
    assert columns_of(path) == ["user id", "item id of it"]
    assert read_interactions(path, ["user id", "item id of it"]).rows() == [("u1", "a b c d")]


def test_columns_without_names_are_named_by_position(written):
    path = written("u.data", U_DATA)
    assert columns_of(path, header=False) == ["1", "2", "3", "4"]
    with pytest.raises(SystemExit, match=r"has no column \['time'\]; it has \['1', '2'"):
        read_interactions(path, ["1", "2", "time"], header=False)


def test_attributes_without_a_header(written):
    features, frame = features_of(written("u.user", U_USER), header=False)
    kinds = [(feature.name, feature.kind) for feature in features]
    assert kinds[0] == ("2", "numeric")
    assert kinds[1:] == [(name, "categorical") for name in "345"]
    assert set(frame.rows()) == {
        ("196", 24.0, "M", "technician", "85711"),
        ("186", 53.0, "F", "other", "94043"),
        ("22", 23.0, "M", "writer", "T8H1N"),
    }
    inter = read_interactions(written("u.data", U_DATA), ["1", "2"], header=False)
    graph = graph_of(inter, RATES, {"user": (features, frame)})
    assert sorted(graph.features["user"]["2"]) == [23.0, 24.0, 53.0]


def test_attributes_of_items_in_another_encoding_and_with_an_empty_column(written):
    features, frame = features_of(written("u.item", U_ITEM, "latin-1"), header=False)
    assert [feature.name for feature in features] == ["2", "3", "5", "6", "7"]
    assert "Misérables, Les (1995)" in frame["2"].to_list()
    assert np.isfinite(frame["7"].to_numpy()).all()


def test_double_colons_keep_bars_and_quotes_as_they_are(written):
    _, frame = features_of(written("movies.dat", MOVIES_DAT), header=False)
    assert set(frame.rows()) == {
        ("1193", "One Flew Over the Cuckoo's Nest (1975)", "Drama|War|Western|Film|Noir"),
        ("661", '"Great Performances" Cats (1998)', "Musical"),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("alone\nu1\n", "got 1 column, expected at least a source and a target"),
        ("", "empty"),
        ("a b\nu1 i1 more\n", "separated by ' '"),
    ],
)
def test_what_is_no_table_is_refused_with_a_reason(written, text, told):
    path = written("a.txt", text)
    with pytest.raises(SystemExit, match=told):
        read_interactions(path, columns_of(path)[:2])


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SystemExit, match="no file"):
        columns_of(tmp_path / "u.data")


def times_of(path, header=True):
    return read_interactions(path, ["a", "b", "t"] if header else list("123"), header=header)[
        "time"
    ]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1082040961", "1082155839"], [1082040961, 1082155839]),
        (["1082040961.0", "1.5e9"], [1082040961, 1.5e9]),
        (["1025083279123", "1025895729123"], [1025083279.123, 1025895729.123]),
        (["2002-06-26", "2002-06-26 09:21:19.5"], [1025049600, 1025083279.5]),
        (["2002-06-26T09:21:19+02:00", "", "2002-06-26T09:21:19Z"], [1025076079, 1025083279]),
        (["1969-12-31"], [-86400]),
    ],
)
def test_times_are_seconds_milliseconds_or_iso(written, cells, expected):
    rows = "".join(f"u,v,{cell}\n" for cell in cells)
    assert times_of(written("a.csv", "a,b,t\n" + rows)).to_list() == expected


def test_times_of_parquet_are_read_by_their_types(tmp_path):
    frame = pl.DataFrame({"a": ["u"], "b": ["v"], "t": ["2002-06-26 09:21:19"]})
    frame = frame.with_columns(pl.col("t").str.to_datetime())
    zoned = pl.col("t").dt.replace_time_zone("Europe/Berlin")
    for number, (kind, expected) in enumerate(
        [(pl.col("t"), 1025083279), (pl.col("t").cast(pl.Date), 1025049600), (zoned, 1025076079)]
    ):
        path = tmp_path / f"{number}.parquet"
        frame.with_columns(t=kind).write_parquet(path)
        assert times_of(path).to_list() == [expected]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("u,v,2002-06-26\nu,v,03/04/2002\n", r"line 3 has '03/04/2002', .*ISO 8601"),
        ("u,v,03/04/2002\n", "line 2 has '03/04/2002'"),
        ("u,v,1082040961\n\nu,v,soon\nu,v,late\n", "line 4 has 'soon'"),
        ('u,"v\nw",1082040961\nu,v,NaN\n', "line 4 has 'NaN'"),
        ("u,v,2002-06-26\nu,v,1082040961\n", "line 3 has '1082040961'"),
        ("u,v,20020101\nu,v,20010101\n", r"end with 20020101.*are a date: write it 2002-01-01"),
        ("u,v,20020101123000\n", "end with 20020101123000.*Divide microseconds"),
        ("u,v,1025083279123000\n", "end with 1025083279123000.*Divide microseconds"),
        ("u,v,1025083279\nu,v,1025083279123\n", "line 2 has '1025083279'.*line 3"),
    ],
)  # fmt: skip
def test_what_may_be_another_time_is_refused_with_its_line(written, rows, told):
    with pytest.raises(SystemExit, match="a.csv: times of t.*" + told):
        times_of(written("a.csv", "a,b,t\n" + rows))


def test_a_clock_may_begin_at_zero(written):
    """As in published data whose times count from the first event."""
    rows = "a,b,t\nu,v,0\nu,v,20020101\nu,v,2678373\n"
    assert times_of(written("a.csv", rows)).to_list() == [0, 2678373, 20020101]


def test_lines_are_counted_without_a_header_too(written):
    with pytest.raises(SystemExit, match="3: line 2 has 'soon'"):
        times_of(written("a.csv", "u,v,1082040961\nu,v,soon\n"), header=False)


@pytest.mark.parametrize("blank", ["NULL", "null", "NA", "n/a", "None", "nan", " ", ""])
def test_missing_numbers_make_no_category(written, blank):
    path = written("users.csv", f"id,age,job\nu1,24,none\nu2,{blank},cook\nu3,53,\n")
    features, frame = features_of(path)
    assert [(f.name, f.kind) for f in features] == [("age", "numeric"), ("job", "categorical")]
    assert frame.sort("id")["age"].to_list() == [24, None, 53]
    assert frame.sort("id")["job"].to_list() == ["none", "cook", None]


def test_a_column_of_nothing_but_missing_values_is_left_out(written):
    features, frame = features_of(written("users.csv", "id,age,job\nu1,NULL,a\nu2,na,b\n"))
    assert [feature.name for feature in features] == ["job"]
    assert frame.columns == ["id", "job"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('u\ta\tn\nu1\t"Weird Al" Yankovic\t3\nu2\tx\t4\n', ['"Weird Al" Yankovic', "x"]),
        ('u\ta\tn\nu1\t"Heroes\t3\nu2\tLow"\t4\nu3\tx\t1\n', ['"Heroes', 'Low"', "x"]),
        ('u\ta\nu1\t12" mix\nu2\tx\n', ['12" mix', "x"]),
        ('u\ta\tn\nu1\t"a ""b"""\t3\n', ['a "b"']),
        ('u\ta\tn\nu1\t"a\tb\nc"\t3\nu2\tx\t4\n', ["a\tb\nc", "x"]),
    ],
)
def test_quotation_marks_between_tabs_may_be_text(written, text, expected):
    frame = read_interactions(written("plays.tsv", text), ["u", "a"])
    assert frame["dst"].to_list() == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("u,a\nu1,b\nu2,c,d\n", "line 3 has 3 values, line 1 has 2"),
        ('u,a\n"u\n1",b\nu2,c,d\n', "line 4 has 3 values, line 1 has 2"),
        ('u\ta\nu1\t"Weird Al" Yankovic\nu2\tc\td\n', "line 3 has 3 values, line 1 has 2"),
        ("u::a\nu1::b\nu2::c::d\n", "line 3 has 3 values, line 1 has 2"),
        ('u,a,n\nu1,b,1\nu2,"Weird Al" Yankovic,3\n', "line 3 has a quotation mark"),
        ('u,a,n\nu1,b,1\nu2,"Heroes,3\nu3,b,1\n', "line 3 has a quotation mark"),
        ('u,a\nu1,12" mix\nu2,b\n', "line 2 has a quotation mark"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(written, text, told):
    with pytest.raises(SystemExit, match=told) as refused:
        columns_of(written("a.csv", text))
    assert not re.search("schema|ignore_errors|truncate_ragged", str(refused.value))
