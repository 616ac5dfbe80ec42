"""A model's metrics beside its baselines, as tables; what was not measured is left out."""

from typing import Any

from django.utils.html import format_html

from controlcenter.common.presenting import NONE, Table, number

METHODS = {
    "model": "model",
    "popularity": "popularity",
    "repeat": "repeat edges",
    "item_knn": "item-kNN",
}
SCORES = {
    "fused": "fused score",
    "rules": "rules alone",
    "without_embedding": "rules and attributes, no embedding",
    "embedding": "embedding alone",
    "boosting": "gradient boosting",
}
FIRST = ("mrr", "hits@10", "auc")
LOW_IS_GOOD = {"brier", "ece"}
ABOUT = ("target", "validated", "users", "folds", "positive_share")


def metric_tables(metrics: Any) -> list[Table]:
    """Tables of the links by edge type and of the score."""
    found = metrics if isinstance(metrics, dict) else {}
    tables = [links_table(part(found, "links")), *score_tables(part(found, "score"))]
    return [table for table in tables if table.rows]


def part(data: Any, name: str) -> dict[str, Any]:
    """The dictionary of this name; empty where there is none."""
    found = data.get(name) if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def sentences(report: dict[str, Any]) -> list[str]:
    """What the report says of its own numbers, as sentences."""
    notes = report.get("notes")
    if not isinstance(notes, list):
        return []
    return [f"{str(note)[:1].upper()}{str(note)[1:].rstrip('.')}." for note in notes]


def columns_of(groups: list[dict[str, dict[str, Any]]]) -> list[str]:
    names = {name for group in groups for values in group.values() for name in values}
    return [n for n in FIRST if n in names] + sorted(names - set(FIRST))


def compared(
    group: dict[str, dict[str, Any]], labels: dict[str, str], columns: list[str]
) -> list[list[Any]]:
    """One row a method; the best of each column is bold."""
    best = {}
    for column in columns:
        found = [v[column] for v in group.values() if isinstance(v.get(column), int | float)]
        if len(found) > 1:
            best[column] = min(found) if column in LOW_IS_GOOD else max(found)
    return [
        [labels[method], *[shown(values.get(c), best.get(c)) for c in columns]]
        for method, values in group.items()
    ]


def shown(value: Any, best: Any) -> Any:
    if value is None:
        return NONE
    return format_html("<b>{}</b>", number(value)) if value == best else number(value)


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
    return Table(
        "Held-out links: the model beside the baselines",
        ["edge type", "method", *columns],
        rows,
        numeric=range(2, 2 + len(columns)),
        note=" ".join([*sentences(links), str(links.get("protocol", ""))]),
    )


def score_methods(score: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Measures by method; of an older report the AUCs alone."""
    methods = {name: part(part(score, "methods"), name) for name in SCORES}
    if any(methods.values()):
        return {name: values for name, values in methods.items() if values}
    keys = {name: "auc" if name == "fused" else f"{name}_auc" for name in SCORES}
    return {name: {"auc": score[key]} for name, key in keys.items() if score.get(key) is not None}


def score_tables(score: dict[str, Any]) -> list[Table]:
    """The score beside its parts, how it was measured, and how the gate is spread."""
    methods = score_methods(score)
    columns = columns_of([methods])
    return [
        Table(
            "Score: fused beside its parts",
            ["method", *columns],
            compared(methods, SCORES, columns),
            numeric=range(1, 1 + len(columns)),
        ),
        Table(
            "How the score was measured",
            ["about", "value"],
            [[name.replace("_", " "), number(score[name])] for name in ABOUT if name in score],
            numeric=[1],
            note=" ".join(sentences(score)),
        ),
        Table(
            "Gate: share of the rules in the score",
            ["statistic", "value"],
            [[key, number(value)] for key, value in part(score, "gate").items()],
            numeric=[1],
        ),
    ]
