"""A quality report as tables for reading."""

from controlcenter.modelling.datasets.report_tables import found


def test_the_values_of_a_label_are_shown_with_their_rows():
    report = {"label": {"positive": 1}, "label_values": {"Yes": 1, "NA": 1234}}
    rows = found(report).rows
    assert [list(map(str, row)) for row in rows] == [
        ["label: positive", "1"],
        ["value of the label: Yes", "1"],
        ["value of the label: NA", "1,234"],
    ]
