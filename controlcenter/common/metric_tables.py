"""A model's metrics beside its baselines, as tables; what was not measured is left out."""

from typing import Any

from controlcenter.common.presenting import Table, number

METHODS = {
    "model": "model",
    "popularity": "popularity",
    "repeat": "repeat edges",
    "item_knn": "item-kNN",
}
SCORES = {
    "auc": "fused score",
    "rules_auc": "rules alone",
    "embedding_auc": "embedding alone",
    "boosting_auc": "gradient boosting",
}
FIRST = ("mrr", "hits@10", "auc")


def metric_tables(metrics: dict[str, Any] | None) -> list[Table]:
    """Tables of the links by edge type and of the score."""
    metrics = metrics if isinstance(metrics, dict) else {}
    tables = [links_table(part(metrics, "links")), *score_tables(part(metrics, "score"))]
    return [table for table in tables if table.rows]


def part(data: dict[str, Any], name: str) -> dict[str, Any]:
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def links_table(links: dict[str, Any]) -> Table:
    """One row an edge type and method, one column a metric."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    for edge, methods in part(links, "edge_types").items():
        for method, label in METHODS.items():
            values = part(methods, method) if isinstance(methods, dict) else {}
            if values:
                found.append((edge, label, values))
    names = {name for _, _, values in found for name in values}
    columns = [n for n in FIRST if n in names] + sorted(names - set(FIRST))
    return Table(
        "Held-out links: the model beside the baselines",
        ["edge type", "method", *columns],
        [[edge, label, *[number(v.get(c)) for c in columns]] for edge, label, v in found],
        numeric=range(2, 2 + len(columns)),
        note=str(links.get("protocol", "")),
    )


def score_tables(score: dict[str, Any]) -> list[Table]:
    """AUC of the score and of its parts, and what else was measured of it."""
    aucs = [[label, number(score[key])] for key, label in SCORES.items() if key in score]
    unvalidated = "Not validated: the target was made by the rules."
    others = [
        [key, number(value)]
        for key, value in score.items()
        if key not in SCORES and isinstance(value, int | float | str)
    ]
    return [
        Table(
            "Score: fused beside its parts (AUC)",
            ["method", "AUC"],
            aucs,
            numeric=[1],
            note=unvalidated if score.get("validated") is False else "",
        ),
        Table("Score: more", ["measure", "value"], others, numeric=[1]),
        Table(
            "Gate: share of the rules in the score",
            ["statistic", "value"],
            [[key, number(value)] for key, value in part(score, "gate").items()],
            numeric=[1],
        ),
    ]
