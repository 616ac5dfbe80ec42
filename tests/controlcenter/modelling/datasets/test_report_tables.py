"""A quality report as tables for reading."""

from stored_reports import stored

from controlcenter.modelling.datasets.report_tables import findings, report_tables
from ml.contracts.reports.dataset import UploadReport, dataset_report


def test_the_values_of_a_label_are_shown_with_their_rows():
    told = {"label": {"positive": 1}, "label_values": {"Yes": 1, "NA": 1234}}
    report = UploadReport.from_dict(stored("quality_wide") | {"made_events": 0} | told)
    rows = findings(report).rows
    assert [list(map(str, row)) for row in rows if row[0].startswith(("label", "value"))] == [
        ["label: positive", "1"],
        ["value of the label: Yes", "1"],
        ["value of the label: NA", "1,234"],
    ]


def cells(name):
    tables = report_tables(dataset_report(stored(name)))
    return {table.title: [list(map(str, row)) for row in table.rows] for table in tables}


def test_an_upload_shows_counts_reasons_rejected_rows_files_and_findings():
    shown, report = cells("quality_zip"), stored("quality_zip")
    assert list(shown) == [
        "Rows", "Reasons", "First rejected rows and values", "What else was found", "Files",
    ]  # fmt: skip
    assert shown["Rows"][-1] == ["all", "12", "9", "3", ""]
    assert ["events", "row left out", "unknown type", "1"] in shown["Reasons"]
    assert ["users", "value made missing", "not a finite number", "1"] in shown["Reasons"]
    assert len(shown["First rejected rows and values"]) == len(report["rejected"])
    assert ["time range", " to ".join(report["time_range"])] in shown["What else was found"]
    assert [row[0] for row in shown["Files"]] == [file["name"] for file in report["files"]]


def test_a_derived_dataset_shows_its_steps_and_what_they_changed():
    shown, report = cells("derivation"), stored("derivation")
    assert list(shown) == ["Steps", "What was removed and added"]
    augmented = shown["Steps"][-1]
    assert augmented[0] == "augment"
    assert augmented[-1] == report["steps"][-1]["because"]
    changes = [change for step in report["steps"] for change in step["changes"]]
    assert [row[3] for row in shown["What was removed and added"]] == [c["reason"] for c in changes]
