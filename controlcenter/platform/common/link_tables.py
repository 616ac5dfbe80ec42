"""A model's held-out links beside the baselines, and all the tables of a model's metrics."""

from typing import Any

from controlcenter.platform.common.metric_tables import (
    best_of,
    columns_of,
    compared,
    part,
    score_tables,
    sentences,
    shown,
)
from controlcenter.platform.common.presenting import Table, number

METHODS = {
    "model": "model",
    "popularity": "popularity",
    "repeat": "repeat edges",
    "item_knn": "item-kNN",
    "ease": "EASE",
}


def metric_tables(metrics: Any) -> list[Table]:
    """Tables of the links by edge type and by slice, and of the score."""
    found = metrics if isinstance(metrics, dict) else {}
    links = part(found, "links")
    tables = [links_table(links), slices_table(links), *score_tables(part(found, "score"))]
    return [table for table in tables if table.rows]


def links_table(links: dict[str, Any]) -> Table:
    """A block of rows an edge type, one row a method, one column a metric."""
    groups = {
        edge: {name: part(methods, name) for name in METHODS if part(methods, name)}
        for edge, methods in part(links, "edge_types").items()
    }
    columns = columns_of(list(groups.values()))
    rows = [
        [edge if first == 0 else "", *row]
        for edge, group in groups.items()
        for first, row in enumerate(compared(group, METHODS, columns))
    ]
    negatives = [f"{name}: {told}" for name, told in part(links, "negatives").items()]
    protocol = "; negatives: ".join([str(links.get("protocol", "")), *negatives[:1]])
    return Table(
        "Held-out links: the model beside the baselines",
        ["edge type", "method", *columns],
        rows,
        numeric=range(2, 2 + len(columns)),
        note="; ".join([protocol, *negatives[1:]]),
        notes=sentences(links),
        wide=True,
    )


def slices_table(links: dict[str, Any]) -> Table:
    """MRR by slice: pairs that were there before or are new, and how cold the source is."""
    rows = []
    for edge, methods in part(links, "edge_types").items():
        for name, found in part(methods, "slices").items():
            count = found.get("evaluated") if isinstance(found, dict) else None
            if not count:
                continue
            group = {method: part(found, method) for method in METHODS}
            best = best_of(group, "mrr")
            cells = [shown(values.get("mrr"), best) for values in group.values()]
            rows.append([edge, name, number(count), *cells])
    columns = ["edge type", "slice", "pairs", *METHODS.values()]
    return Table(
        "Held-out links by slice: MRR", columns, rows, numeric=range(2, len(columns)), wide=True
    )
