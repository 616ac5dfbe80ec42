"""What the demo prints: tables and bars of plain text."""

from collections.abc import Sequence
from typing import Any

from controlcenter.platform.common.formatting import NOT_VALIDATED
from ml.contracts.reports.explanation import ExplanationReport
from ml.contracts.reports.links import LinkReport
from ml.contracts.reports.score import ScoreReport

BAR = 24
MEASURES = {"mrr": "mrr", "hits_at_10": "hits@10", "auc": "auc"}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their content; the first is text, the others are numbers."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return "  ".join(cells).rstrip()

    return "\n".join([line(head), "  ".join("─" * width for width in widths), *map(line, rows)])


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many digits after the point."""
    return "–" if value is None else f"{value:.{digits}f}"


def stages(seconds: dict[str, float]) -> str:
    """Seconds of each stage."""
    rows = [[name, f"{value:.1f} s"] for name, value in seconds.items()]
    rows.append(["together", f"{sum(seconds.values()):.1f} s"])
    return table(["stage", "time"], rows)


def links(report: LinkReport) -> str:
    """Held-out links by edge type, the model beside the baselines, and what is to be said."""
    head = [
        "edge type",
        *(f"{m} {k}" for k in MEASURES.values() for m in ("model", "best baseline")),
    ]
    rows = []
    for name, row in report.edge_types.items():
        cells = [name]
        measured = {method: figures.known() for method, figures in row.measured().items()}
        model = measured.pop("model", {})
        for measure in MEASURES:
            values = [
                (value[measure], method) for method, value in measured.items() if measure in value
            ]
            best, method = max(values, default=(None, ""))
            cells.append(number(model.get(measure)))
            cells.append(f"{number(best)} {method}".strip())
        rows.append(cells)
    return "\n".join([table(head, rows), *(f"note: {note}" for note in report.notes)])


def score(report: ScoreReport) -> str:
    """The fused score beside its parts, on the same folds."""
    fused = (report.auc, report.calibration_error, report.brier)
    parts = [
        ["rules alone", number(report.rules_auc), "", ""],
        ["rules, attributes", number(report.without_embedding_auc), "", ""],
        ["embedding alone", number(report.embedding_auc), "", ""],
        ["gradient boosting", number(report.boosting_auc), "", ""],
        ["fused", *map(number, fused)],
    ]
    note = f"target: {report.target} ({report.what}), {report.folds} folds, {report.users} users"
    spread = ", ".join(f"{name} {number(value, 2)}" for name, value in report.gate.known().items())
    whole = table(["score", "AUC", "calibration error", "Brier"], parts)
    lines = [whole, note, f"gate (share of the rules): {spread or '–'}"]
    return "\n".join([*lines, *(f"note: {note}" for note in report.notes)])


def warning(validated: bool | None) -> str:
    """What follows a score that nothing validated."""
    return f", {NOT_VALIDATED}" if validated is False else ""


def profile(user: dict[str, Any]) -> str:
    """One user in a few lines."""
    unproven = warning(user["score_validated"])
    hits = [name for name, hit in (user["rule_hits"] or {}).items() if hit]
    lines = [
        ("user", user["user_id"]),
        ("attributes", ", ".join(f"{k} {v}" for k, v in user["attributes"].items())),
        ("events", ", ".join(f"{k} {v}" for k, v in user["event_counts"].items()) or "none"),
        ("call peers", str(user["call_peers"])),
        ("last event", user["last_event_at"] or "–"),
        ("rules that match", ", ".join(hits) or "none"),
        (
            "score",
            f"{number(user['final_score'])} (rules {number(user['rule_score'])}, model "
            f"{number(user['model_score'])}, gate {number(user['gate'], 2)}){unproven}",
        ),
    ]
    return "\n".join(f"  {name:<17} {value}" for name, value in lines)


def offers(recommendations: list[dict[str, Any]], limit: int = 5) -> str:
    """The best offers with their reasons."""
    return "\n".join(
        f"  {offer['type']} {offer.get('name') or offer['item_id']}: {'; '.join(offer['reasons'])}"
        for offer in recommendations[:limit]
    )


def bars(explanation: ExplanationReport, *, validated: bool | None, limit: int = 12) -> str:
    """Contributions as bars around a middle line."""
    rows = explanation.contributions[:limit]
    largest = max((abs(row.contribution) for row in rows), default=0.0) or 1.0
    width = max((len(row.player) for row in rows), default=0)
    lines = [
        f"  {explanation.summary}",
        f"  base                   {number(explanation.base)}",
    ]
    for row in rows:
        length = round(abs(row.contribution) / largest * BAR)
        bar = "█" * length
        left, right = (bar.rjust(BAR), "") if row.contribution < 0 else (" " * BAR, bar)
        lines.append(
            f"  {row.player:<{width}} {left}│{right:<{BAR}} {row.contribution:+.3f}".rstrip()
        )
    lines.append(f"  score of the user      {number(explanation.score)}{warning(validated)}")
    return "\n".join(lines)
