"""A model's held-out links beside the baselines, as tables."""

from controlcenter.modelling.reports.cells import (
    best_of,
    columns_of,
    compared,
    headings,
    sentences,
    shown,
)
from controlcenter.platform.common.formatting import Table, number
from ml.contracts.reports.links import LinkReport
from ml.contracts.reports.metrics import LinkMetrics

METHODS = {
    "model": "model",
    "popularity": "popularity",
    "repeat": "repeat edges",
    "item_knn": "item-kNN",
    "ease": "EASE",
}


def link_tables(links: LinkReport) -> list[Table]:
    """By edge type, and by slice."""
    return [links_table(links), slices_table(links)]


def links_table(links: LinkReport) -> Table:
    """A block of rows an edge type, one row a method, one column a metric."""
    groups = {edge: row.measured() for edge, row in links.edge_types.items()}
    columns = columns_of(groups.values())
    rows = [
        [edge if first == 0 else "", *row]
        for edge, group in groups.items()
        for first, row in enumerate(compared(group, METHODS, columns))
    ]
    negatives = [f"{name}: {what}" for name, what in links.negatives.items()]
    protocol = "; negatives: ".join([links.protocol, *negatives[:1]])
    return Table(
        "Held-out links: the model beside the baselines",
        ["edge type", "method", *headings(LinkMetrics, columns)],
        rows,
        numeric=range(2, 2 + len(columns)),
        note="; ".join([protocol, *negatives[1:]]),
        notes=sentences(links.notes),
        wide=True,
    )


def slices_table(links: LinkReport) -> Table:
    """MRR by slice: pairs that were there before or are new, and how cold the source is."""
    rows: list[list[object]] = []
    for edge, report in links.edge_types.items():
        for name, part in report.slices.items():
            if not part.evaluated:
                continue
            mrr = {method: figures.known() for method, figures in part.measured().items()}
            best = best_of(mrr, "mrr")
            cells = [shown(mrr.get(method, {}).get("mrr"), best) for method in METHODS]
            rows.append([edge, name, number(part.evaluated), *cells])
    columns = ["edge type", "slice", "pairs", *METHODS.values()]
    return Table(
        "Held-out links by slice: MRR", columns, rows, numeric=range(2, len(columns)), wide=True
    )
