"""Columns that come to nothing are said, however smoothly the rows were read."""

import io
import zipfile

import pytest

from ml.contracts.mapping import parse_mapping

HEADER = "id;fee;plan;tv;churn\n"


def said(report, *words):
    found = [w for w in report.warnings if all(word in w for word in words)]
    assert len(found) == 1, report.warnings
    return found[0]


def test_decimal_commas_without_the_option(read, people):
    cells = [f"{i},5" for i in range(18)] + ["1.234,5", "x"]
    text = HEADER + "".join(f"u{i};{cell};a;Yes;No\n" for i, cell in enumerate(cells))
    _, report = read(text)
    warning = said(report, "20 of the 20 values of the column 'fee' were rejected")
    assert warning.endswith('give the column decimal: ","')
    people["columns"]["fee"]["decimal"] = ","
    _, report = read(text, parse_mapping(people))
    assert not any("'fee'" in warning for warning in report.warnings)


@pytest.mark.parametrize(("bad", "expected"), [(0, False), (1, False), (5, True), (20, True)])
def test_many_rejected_values(read, bad, expected):
    cells = ["abc"] * bad + ["1"] * (20 - bad)
    _, report = read(HEADER + "".join(f"u{i};{c};a;Yes;No\n" for i, c in enumerate(cells)))
    warnings = [w for w in report.warnings if "the column 'fee'" in w]
    assert bool(warnings) == expected
    assert not any("comma" in warning for warning in warnings)
    if expected:
        assert f"{bad} of the 20 values" in warnings[0]


def test_blank_columns(read):
    _, report = read(HEADER + "u1;1; ;Yes;\nu2;2;;No;\n")
    said(report, "the column 'plan' is blank in all 2 rows")
    said(report, "the column 'churn' is blank in all 2 rows")
    assert not any("'fee'" in warning for warning in report.warnings)


def test_a_label_that_never_says_yes(read, people):
    people["columns"]["churn"]["positive"] = ["Churned"]
    text = HEADER + "u1;1;a;Yes;churned!\nu2;1;a;No;Stayed\n"
    _, report = read(text, parse_mapping(people))
    said(report, "no value of the label 'churn'", "'Stayed', 'churned!'", "['Churned']")
    people["columns"]["churn"]["positive"] = ["Churned!"]
    _, report = read(text, parse_mapping(people))
    assert not any("label" in warning for warning in report.warnings)


def test_no_events_are_not_events_without_time(read, people):
    text = HEADER + "u1;1;a;{};No\n"
    assert "events have no time" in said(read(text.format("Yes"))[1], "events")
    _, report = read(text.format("No"))
    assert not any("events have no time" in warning for warning in report.warnings)


def test_small_batches_add_up(read, monkeypatch):
    monkeypatch.setattr("ml.data.readers.BATCH", 3)
    _, report = read(HEADER + "".join(f"u{i};{i},5;;Yes;No\n" for i in range(10)))
    said(report, "10 of the 10 values of the column 'fee'", "decimal")
    said(report, "the column 'plan' is blank in all 10 rows")


def fees(cells, quote='"'):
    return "id,fee\n" + "".join(f"u{i},{quote}{cell}{quote}\n" for i, cell in enumerate(cells))


FEES = {"format": "wide", "columns": {"id": {"role": "id"}, "fee": {"role": "numeric"}}}


@pytest.mark.parametrize(
    ("cells", "thousands", "decimal"),
    [
        (["1,000,000", "2,500"], True, False),
        (["1,000.50", "950", "-2,500"], True, False),
        (["1,000", "25,300", "999"], True, True),
        (["1,000", "7,25"], False, True),
        (["0,125", "1,250"], False, True),
        (["7,25", "1,000.50"], True, True),
        (["1,00,000", "a"], False, False),
    ],
)
def test_commas_between_thousands_are_no_decimal_commas(read, cells, thousands, decimal):
    _, report = read(fees(cells), parse_mapping(FEES))
    warning = said(report, "values of the column 'fee' were rejected")
    assert ("separators of thousands" in warning and "out of the file" in warning) == thousands
    assert ('decimal: ","' in warning) == decimal


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["7.000", "12.500", "950"], True),
        (["1.200", "1.234.567"], True),
        (["7.000", "12.5"], False),
        (["0.125", "0.250"], False),
        (["950", "12"], False),
        (["7000", "12.500"], False),
    ],
)
def test_points_that_may_be_between_thousands(read, cells, expected):
    _, report = read(fees(cells), parse_mapping(FEES))
    warnings = [w for w in report.warnings if "points between thousands" in w]
    assert bool(warnings) == expected


def test_a_label_that_is_not_known_is_missing_and_its_values_are_counted(read):
    labels = ["Yes", "No", "No", "NA", "null", "None", "n/a", ""]
    text = HEADER + "".join(f"u{i};1;a;Yes;{label}\n" for i, label in enumerate(labels))
    _, report = read(text)
    assert report.label == {"positive": 1, "negative": 2, "missing": 5}
    assert report.tables["users"].blanks["churn"] == 5
    values = {"No": 2, "Yes": 1, "NA": 1, "null": 1, "None": 1, "n/a": 1}
    assert report.to_dict()["label_values"] == values


def test_the_ten_most_frequent_values_of_a_label(read, monkeypatch):
    monkeypatch.setattr("ml.data.readers.BATCH", 4)
    labels = [f"v{i}" for i in range(30)] + ["Yes"] * 3
    text = HEADER + "".join(f"u{i};1;a;Yes;{label}\n" for i, label in enumerate(labels))
    values = read(text)[1].to_dict()["label_values"]
    assert len(values) == 10
    assert next(iter(values.items())) == ("Yes", 3)


@pytest.mark.parametrize(
    ("rows", "different", "expected"),
    [(100, 50, True), (100, 49, False), (99, 99, False), (120, 120, True)],
)
def test_a_categorical_column_of_different_values_is_asked_about(read, rows, different, expected):
    text = HEADER + "".join(f"u{i};1;a{i % different};Yes;No\n" for i in range(rows))
    _, report = read(text)
    found = [w for w in report.warnings if "'plan'" in w]
    assert len(found) == expected
    if expected:
        assert f"{different} different values" in found[0]
        assert "role ignored" in found[0]


def test_blank_cells_are_no_different_values(read):
    plans = [f"a{i}" for i in range(99)] + [""] * 100
    _, report = read(HEADER + "".join(f"u{i};1;{p};Yes;No\n" for i, p in enumerate(plans)))
    assert not any("'plan'" in warning for warning in report.warnings)


def test_names_of_products_may_all_differ(read):
    mapping = {"format": "narrow", "tables": {
        "products": {"columns": {"id": {"role": "id"}, "title": {
            "role": "categorical", "name": "name"}}},
        "events": [{"type": "order", "columns": {
            "who": {"role": "actor"}, "what": {"role": "target"}}}],
    }}  # fmt: skip
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        titles = "".join(f"{i},title {i}\n" for i in range(200))
        archive.writestr("products.csv", "id,title\n" + titles)
        archive.writestr("events.csv", "who,what\nu1,1\n")
    _, report = read(out.getvalue(), parse_mapping(mapping), "up.zip")
    assert not any("different values" in warning for warning in report.warnings)
