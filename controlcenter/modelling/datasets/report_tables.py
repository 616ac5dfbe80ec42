"""The quality report as tables for reading."""

from typing import Any

from controlcenter.platform.common.presenting import Table, number

SHOWN = 200
"""Rejected rows on the page; the API gives all that the report keeps."""


def report_tables(report: dict[str, Any]) -> list[Table]:
    """Counts by table, reasons, the first rejected entries, files, and what else was found."""
    if not report:
        return []
    if "steps" in report:
        return [steps(report), step_changes(report)]
    tables = [counts(report), reasons(report), rejected(report), found(report), files(report)]
    return [tables[0], *[table for table in tables[1:] if table.rows]]


def steps(report: dict[str, Any]) -> Table:
    """A row a step and table or edge type that it changed; one row where it changed nothing."""
    rows = []
    for step in report["steps"]:
        before, after = step["before"], step["after"]
        told = ", ".join(f"{name} {value}" for name, value in step["parameters"].items())
        changed = [name for name in before if before[name] != after[name]]
        for name in changed or ["events"]:
            numbers = [number(before[name]), number(after[name])]
            rows.append([step["name"], told, name, *numbers, step["because"]])
    columns = ["step", "parameters", "table or edge type", "before", "after", "because"]
    note = "Made from its source, which stays as it is. A step with equal counts found nothing."
    return Table("Steps", columns, rows, numeric=(3, 4), note=note, wide=True)


def step_changes(report: dict[str, Any]) -> Table:
    rows = [
        [step["name"], change["table"], change["what"], change["reason"], number(change["rows"]),
         ", ".join(change["examples"])]
        for step in report["steps"]
        for change in step["changes"]
    ]  # fmt: skip
    columns = ["step", "table", "what was done", "reason", "rows", "for example"]
    return Table("What was removed and added", columns, rows, numeric=[4], wide=True)


def counts(report: dict[str, Any]) -> Table:
    names = ("rows_read", "rows_kept", "rows_rejected", "values_rejected")
    rows = [
        [table, *[number(quality.get(name)) for name in names]]
        for table, quality in report.get("tables", {}).items()
    ]
    total = [number(report.get(name)) for name in names[:3]]
    columns = ["table", "rows read", "kept", "rejected", "values made missing"]
    return Table("Rows", columns, [*rows, ["all", *total, ""]], numeric=range(1, 5))


def reasons(report: dict[str, Any]) -> Table:
    rows = [
        [table, effect, reason, number(count)]
        for table, quality in report.get("tables", {}).items()
        for key, effect in (("reasons", "row left out"), ("value_reasons", "value made missing"))
        for reason, count in quality.get(key, {}).items()
    ]
    columns = ["table", "what was done", "reason", "how often"]
    return Table("Reasons", columns, rows, numeric=[3])


def rejected(report: dict[str, Any]) -> Table:
    entries = report.get("rejected", [])
    names = ("file", "line", "column", "value", "reason", "effect")
    rows = [[entry.get(name) for name in names] for entry in entries[:SHOWN]]
    more = f"The first {SHOWN} of {len(entries)} that the report keeps; all are counted above."
    note = more if len(entries) > SHOWN else ""
    return Table("First rejected rows and values", names, rows, numeric=[1], note=note)


def found(report: dict[str, Any]) -> Table:
    begin_end = report.get("time_range") or []
    rows: list[list[Any]] = [["time range", " to ".join(begin_end)]] if begin_end else []
    sets = {
        "duplicates": "duplicate ids left out",
        "dangling": "events that point at an unknown",
        "created": "created with defaults",
        "label": "label",
        "label_values": "value of the label",
    }
    for key, label in sets.items():
        for name, count in (report.get(key) or {}).items():
            rows.append([f"{label}: {name}", number(count)])
    for key, label in (
        ("made_events", "events made from product columns"),
        ("times_without_zone", "times without zone, taken as UTC"),
    ):
        if report.get(key):
            rows.append([label, number(report[key])])
    return Table("What else was found", ["what", "value"], rows)


def files(report: dict[str, Any]) -> Table:
    rows = [
        [f.get("name"), f.get("table"), f.get("encoding"), f.get("delimiter"),
         ", ".join(map(str, f.get("columns", [])))]
        for f in report.get("files", [])
    ]  # fmt: skip
    return Table("Files", ["file", "table", "encoding", "delimiter", "columns"], rows)
