"""What the page of a report shows, as tables and a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from controlcenter.modelling.tasks.curves import Curve, curve
from controlcenter.modelling.tasks.looping import Score
from controlcenter.platform.common.link_tables import METHODS
from controlcenter.platform.common.metric_tables import part, rows_of
from controlcenter.platform.common.presenting import NONE, Table, badge, link, number

Keys = Mapping[str, Any]
"""Key of a user's row by user id."""

ABOUT_PARAMETERS = {"edge_type": "", "what": "", "factor": "factor ", "sources": "sources with "}


@dataclass(frozen=True)
class Dot:
    """One iteration in the plot."""

    x: str
    y: str
    text: str


@dataclass(frozen=True)
class Iterations:
    """The watched metric of each iteration."""

    metric: str
    curve: Curve
    dots: list[Dot]


def iterations_plot(metric: str, found: Sequence[Score]) -> Iterations | None:
    """The plot of a metric by iteration; None where there are less than two."""
    drawn = curve({score.iteration: score.value for score in found})
    if drawn is None:
        return None
    places = [point.split(",") for point in drawn.points.split(" ")]
    dots = [
        Dot(x, y, f"iteration {score.iteration}: {score.value:.4f}")
        for (x, y), score in zip(places, found, strict=True)
    ]
    return Iterations(metric, drawn, dots)


def suggestions_table(report: Any) -> Table:
    """What may help, with the evidence."""
    rows = [
        [
            badge("active" if one.get("automatic") else "idle", str(one.get("action"))),
            "carried out by the next iteration" if one.get("automatic") else "for people",
            parameters_of(one),
            one.get("because"),
        ]
        for one in rows_of(report, "suggestions")
    ]
    columns = ["action", "who", "on what", "because"]
    return Table("Suggestions", columns, rows, wide=True)


def parameters_of(suggestion: Mapping[str, Any]) -> str:
    told = [
        f"{before}{suggestion[name]}{' edges' if name == 'sources' else ''}"
        for name, before in ABOUT_PARAMETERS.items()
        if suggestion.get(name) is not None
    ]
    return ", ".join(told) or NONE


def link_slices_table(report: Any) -> Table:
    """Recall@20 by slice with its interval, beside the best baseline."""
    rows = []
    for row in rows_of(part(report, "slices"), "links"):
        baselines = part(row, "baselines")
        best = max(baselines, key=lambda name: (baselines[name], name), default=None)
        told = f"{METHODS.get(best, best)} {number(baselines[best])}" if best else NONE
        rows.append(
            [
                row["edge_type"], row["slice"], number(row["pairs"]), number(row["sources"]),
                number(row["recall_at_20"]), span(row["low"], row["high"]), told,
            ]
        )  # fmt: skip
    columns = ["edge type", "slice", "pairs", "sources", "Recall@20", "interval", "best baseline"]
    return Table(
        "Held-out links by slice: Recall@20 with its interval", columns, rows,
        numeric=[2, 3, 4, 5], note=f"Intervals: {report.get('intervals', NONE)}.", wide=True,
    )  # fmt: skip


def user_slices_table(report: Any) -> Table:
    """Quality of the score by what is known of the users."""
    rows = []
    for row in rows_of(part(report, "slices"), "users"):
        interval = f"{row['low']:.3f} to {row['high']:.3f}" if "auc" in row else NONE
        observed = (
            f"{row['observed']:.3f} ({row['observed_low']:.3f} to {row['observed_high']:.3f})"
        )
        rows.append(
            [
                row["slice"], number(row["users"]), number(row["positives"]),
                number(row.get("auc")), interval, number(row.get("boosting_auc")),
                number(row["predicted"]), observed, number(row["calibration_error"]),
            ]
        )  # fmt: skip
    columns = [
        "users", "number", "outcome 1", "AUC", "interval", "boosting AUC", "predicted", "observed",
        "calibration error",
    ]  # fmt: skip
    return Table("Score by slice of users", columns, rows, numeric=range(1, 9), wide=True)


def span(low: float, high: float) -> str:
    return f"{low:.3f} to {high:.3f}"


def worst_users_table(report: Any, keys: Keys) -> Table:
    """The most confident errors, each with what was known of the user."""
    rows = [
        [
            user_link(row["user_id"], keys), row["kind"], number(row["score"]), row["outcome"],
            number(row["rules"]), number(row["boosting"]), edges_of(row),
            ", ".join(row["rule_hits"]) or NONE, "; ".join(row["why"]),
        ]
        for row in rows_of(part(report, "worst"), "users")
    ]  # fmt: skip
    columns = ["user", "error", "score", "outcome", "rules", "boosting", "edges", "rules that hit",
               "why"]  # fmt: skip
    return Table(
        "Worst users: the largest confident errors", columns, rows, numeric=[2, 3, 4, 5],
        note="What was said of each by a fit that never saw the user's outcome.", wide=True,
    )  # fmt: skip


def edges_of(row: Mapping[str, Any]) -> SafeString | str:
    """How many neighbours the user had, by type behind a click."""
    found = part(row, "edges")
    told = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    if not told:
        return "0"
    return format_html(
        '<details class="ups-more"><summary>{}</summary>{}</details>',
        number(sum(found.values())),
        format_html_join("", "{} {}<br>", told),
    )


def worst_links_table(report: Any, keys: Keys) -> Table:
    """The held-out pairs that the model ranked worst, by edge type."""
    rows = [
        [
            row["edge_type"], end_of(row, "source", keys), end_of(row, "target", keys),
            f"{row['rank']:,.0f} of {row['of']:,}", "; ".join(row["why"]),
        ]
        for row in rows_of(part(report, "worst"), "links")
    ]  # fmt: skip
    columns = ["edge type", "source", "target", "rank", "why"]
    return Table("Worst edges: held-out pairs ranked last", columns, rows, numeric=[3], wide=True)


def end_of(row: Mapping[str, Any], end: str, keys: Keys) -> SafeString | str:
    if row.get(f"{end}_type") == "user":
        return user_link(row[end], keys)
    name = row.get(f"{end}_name")
    return f"{row[end]} ({name})" if name and name != row[end] else str(row[end])


def user_link(user_id: str, keys: Keys) -> SafeString | str:
    """The user's page, where there is one."""
    if user_id not in keys:
        return user_id
    return link(reverse("admin:profiles_profile_change", args=[keys[user_id]]), user_id)


def users_named(report: Any) -> set[str]:
    """Every user that the worst cases name."""
    worst = part(report, "worst")
    named = {row["user_id"] for row in rows_of(worst, "users")}
    for row in rows_of(worst, "links"):
        named |= {row[end] for end in ("source", "target") if row.get(f"{end}_type") == "user"}
    return named
