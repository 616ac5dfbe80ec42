"""The metrics of a score beside its parts, as tables; what was not measured is left out."""

from typing import Any

from django.utils.html import format_html

from controlcenter.platform.common.presenting import NONE, NOT_VALIDATED, Table, number

SCORES = {
    "fused": "fused score",
    "rules": "rules alone",
    "without_embedding": "rules and attributes, no embedding",
    "embedding": "embedding alone",
    "boosting": "gradient boosting",
}
ORDER = (
    "mrr", "hits@1", "hits@10", "recall@20", "ndcg@10", "ndcg@20", "user_ndcg@10",
    "user_recall@10", "auc", "ap", "auc_historical", "ap_historical", "brier", "ece",
)  # fmt: skip
LOW_IS_GOOD = {"brier", "ece"}
ABOUT = {
    "target": "target",
    "what": "what a 1 means",
    "validated": "validated",
    "cut": "evidence from before",
    "users": "users",
    "folds": "folds",
    "positive_share": "positive share",
}


def part(data: Any, name: str) -> dict[str, Any]:
    """The dictionary of this name; empty where there is none."""
    found = data.get(name) if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def rows_of(data: Any, name: str) -> list[Any]:
    """The list of this name; empty where there is none."""
    found = data.get(name) if isinstance(data, dict) else None
    return found if isinstance(found, list) else []


def sentences(report: dict[str, Any], name: str = "notes") -> list[str]:
    """What the report says of its own numbers, as sentences."""
    return [
        f"{str(note)[:1].upper()}{str(note)[1:].rstrip('.')}." for note in rows_of(report, name)
    ]


def columns_of(groups: list[dict[str, dict[str, Any]]]) -> list[str]:
    names = {name for group in groups for values in group.values() for name in values}
    return [n for n in ORDER if n in names] + sorted(names - set(ORDER))


def compared(
    group: dict[str, dict[str, Any]], labels: dict[str, str], columns: list[str]
) -> list[list[Any]]:
    """One row a method; the best of each column is bold."""
    best = {column: best_of(group, column) for column in columns}
    return [
        [labels[method], *[shown(values.get(c), best[c]) for c in columns]]
        for method, values in group.items()
    ]


def best_of(group: dict[str, dict[str, Any]], column: str) -> Any:
    """The best value of a metric among methods; None where there is nothing to compare."""
    found = [v[column] for v in group.values() if isinstance(v.get(column), int | float)]
    if len(found) < 2:
        return None
    return min(found) if column in LOW_IS_GOOD else max(found)


def shown(value: Any, best: Any) -> Any:
    if value is None:
        return NONE
    return format_html("<b>{}</b>", number(value)) if value == best else number(value)


def score_methods(score: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Measures by method; of an older report the AUCs alone."""
    methods = {name: part(part(score, "methods"), name) for name in SCORES}
    if any(methods.values()):
        return {name: values for name, values in methods.items() if values}
    keys = {name: "auc" if name == "fused" else f"{name}_auc" for name in SCORES}
    return {name: {"auc": score[key]} for name, key in keys.items() if score.get(key) is not None}


def score_tables(score: dict[str, Any]) -> list[Table]:
    """The score beside its parts, how it was measured, how well its probabilities hold, and how
    the gate is spread."""
    methods = score_methods(score)
    columns = columns_of([methods])
    unproven = score.get("validated") is False
    return [
        Table(
            "Score: fused beside its parts",
            ["method", *columns],
            compared(methods, SCORES, columns),
            numeric=range(1, 1 + len(columns)),
            notes=[comparison(score)] if part(score, "comparison") else [],
        ),
        Table(
            "How the score was measured",
            ["about", "value"],
            about_rows(score),
            numeric=[1],
            notes=[*sentences(score), *sentences(score, "passed_over")],
            warning=f"This score is {NOT_VALIDATED}." if unproven else "",
        ),
        reliability_table(score),
        Table(
            "Gate: share of the rules in the score",
            ["statistic", "value"],
            [[key, number(value)] for key, value in part(score, "gate").items()],
            numeric=[1],
        ),
    ]


def about_rows(score: dict[str, Any]) -> list[list[Any]]:
    """What the score predicts and how it was calibrated."""
    rows = [[label, number(score[name])] for name, label in ABOUT.items() if name in score]
    calibration = part(score, "calibration")
    for name, label in (("brier_before", "Brier"), ("ece_before", "calibration error")):
        if name in calibration:
            rows.append([f"{label} before calibration", number(calibration[name])])
    return rows


def comparison(score: dict[str, Any]) -> str:
    """The fused score beside its best part, in a sentence."""
    found = part(score, "comparison")
    numbers = [found.get(name) for name in ("value", "low", "high")]
    if not all(isinstance(value, float | int) for value in numbers):
        return ""
    value, low, high = (f"{value:+.4f}" for value in numbers)
    best = SCORES.get(str(found.get("best_part")), str(found.get("best_part")))
    return (
        f"AUC of the fused score minus that of the best single part ({best}): {value}; "
        f"{found.get('level', 0):.0%} of {number(found.get('resamples'))} resamples of the users "
        f"from {low} to {high}."
    )


def reliability_table(score: dict[str, Any]) -> Table:
    """Predicted and observed shares by bin of the probability."""
    rows = [
        [
            f"{row.get('from', 0):.2g} to {row.get('to', 0):.2g}",
            *(number(row.get(name)) for name in ("count", "predicted", "observed")),
        ]
        for row in rows_of(score, "reliability")
        if isinstance(row, dict)
    ]
    return Table(
        "Reliability: predicted and observed",
        ["probability", "users", "predicted", "observed"],
        rows,
        numeric=[1, 2, 3],
        note=str(part(score, "calibration").get("method", "")),
    )
