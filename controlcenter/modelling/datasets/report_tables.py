"""What is known of a dataset's rows, as tables for reading."""

from controlcenter.platform.common.formatting import Table, number
from ml.contracts.reports.dataset import DerivationReport, UploadReport

SHOWN = 200
"""Rejected rows on the page; the API gives all that the report keeps."""


def report_tables(report: UploadReport | DerivationReport) -> list[Table]:
    """Of an upload: counts, reasons, first rejected entries, files, what else was found. Of a
    derived dataset: the steps, and what they removed and added."""
    if isinstance(report, DerivationReport):
        return [steps(report), step_changes(report)]
    tables = [reasons(report), rejected(report), findings(report), files(report)]
    return [counts(report), *[table for table in tables if table.rows]]


def steps(report: DerivationReport) -> Table:
    """A row a step and table or edge type that it changed; one row where it changed nothing."""
    rows: list[list[object]] = []
    for step in report.steps:
        before, after = step.before, step.after
        parameters = ", ".join(f"{name} {value}" for name, value in step.parameters.items())
        changed = [name for name in before if before[name] != after[name]]
        for name in changed or ["events"]:
            numbers = [number(before[name]), number(after[name])]
            rows.append([step.name, parameters, name, *numbers, step.because])
    columns = ["step", "parameters", "table or edge type", "before", "after", "because"]
    note = "Made from its source, which stays as it is. A step with equal counts found nothing."
    return Table("Steps", columns, rows, numeric=(3, 4), note=note, wide=True)


def step_changes(report: DerivationReport) -> Table:
    """What each step removed and added."""
    rows: list[list[object]] = [
        [step.name, change.table, change.what, change.reason, number(change.rows),
         ", ".join(change.examples)]
        for step in report.steps
        for change in step.changes
    ]  # fmt: skip
    columns = ["step", "table", "what was done", "reason", "rows", "for example"]
    return Table("What was removed and added", columns, rows, numeric=[4], wide=True)


def counts(report: UploadReport) -> Table:
    """Rows by table, and all of them together."""
    rows: list[list[object]] = [
        [name, number(table.rows_read), number(table.rows_kept), number(table.rows_rejected),
         number(table.values_rejected)]
        for name, table in report.tables.items()
    ]  # fmt: skip
    sums = [number(n) for n in (report.rows_read, report.rows_kept, report.rows_rejected)]
    columns = ["table", "rows read", "kept", "rejected", "values made missing"]
    return Table("Rows", columns, [*rows, ["all", *sums, ""]], numeric=range(1, 5))


def reasons(report: UploadReport) -> Table:
    """Why rows were left out and values made missing, by how often."""
    rows: list[list[object]] = [
        [name, effect, reason, number(count)]
        for name, table in report.tables.items()
        for by_reason, effect in (
            (table.reasons, "row left out"),
            (table.value_reasons, "value made missing"),
        )
        for reason, count in by_reason.items()
    ]
    columns = ["table", "what was done", "reason", "how often"]
    return Table("Reasons", columns, rows, numeric=[3])


def rejected(report: UploadReport) -> Table:
    """The first rows and values that were rejected, as they stood in the file."""
    entries = report.rejected
    rows: list[list[object]] = [
        [entry.file, entry.line, entry.column, entry.value, entry.reason, entry.effect]
        for entry in entries[:SHOWN]
    ]
    more = f"The first {SHOWN} of {len(entries)} that the report keeps; all are counted above."
    note = more if len(entries) > SHOWN else ""
    columns = ["file", "line", "column", "value", "reason", "effect"]
    return Table("First rejected rows and values", columns, rows, numeric=[1], note=note)


def findings(report: UploadReport) -> Table:
    """What else the check noticed: times, duplicates, unknown ids, labels."""
    rows: list[list[object]] = []
    if report.time_range is not None:
        rows.append(["time range", " to ".join(report.time_range)])
    by_name = {
        "duplicate ids left out": report.duplicates,
        "events that point at an unknown": report.dangling,
        "created with defaults": report.created,
        "label": report.label or {},
        "value of the label": report.label_values,
    }
    rows += [
        [f"{what}: {name}", number(count)]
        for what, numbers in by_name.items()
        for name, count in numbers.items()
    ]
    if report.made_events:
        rows.append(["events made from product columns", number(report.made_events)])
    if report.times_without_zone:
        rows.append(["times without zone, taken as UTC", number(report.times_without_zone)])
    return Table("What else was found", ["what", "value"], rows)


def files(report: UploadReport) -> Table:
    """The files of the upload and how they were read."""
    rows: list[list[object]] = [
        [file.name, file.table, file.encoding, file.delimiter, ", ".join(file.columns)]
        for file in report.files
    ]
    return Table("Files", ["file", "table", "encoding", "delimiter", "columns"], rows)
