"""What the page of a report shows, as tables and a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from controlcenter.modelling.evaluations.user_pages import Pages
from controlcenter.modelling.reports.line_chart import LineChart, line_chart
from controlcenter.modelling.reports.link_tables import METHODS
from controlcenter.modelling.tasks.iterations import Score
from controlcenter.platform.common.formatting import NONE, Table, badge, link, number
from ml.contracts.reports.evaluation import (
    LinkSliceQuality,
    UserSliceQuality,
    WorstCases,
    WorstLink,
    WorstUser,
)
from ml.contracts.reports.suggestions import Suggestion
from ml.contracts.schema import USER


@dataclass(frozen=True)
class IterationDot:
    """One iteration in the plot."""

    x: str
    y: str
    text: str


@dataclass(frozen=True)
class Iterations:
    """The watched metric of each iteration."""

    metric: str
    chart: LineChart
    dots: list[IterationDot]


def iterations_plot(metric: str, scores: Sequence[Score]) -> Iterations | None:
    """The plot of a metric by iteration; None where there are less than two."""
    chart = line_chart({score.iteration: score.value for score in scores})
    if chart is None:
        return None
    places = [point.split(",") for point in chart.points.split(" ")]
    dots = [
        IterationDot(x, y, f"iteration {score.iteration}: {score.value:.4f}")
        for (x, y), score in zip(places, scores, strict=True)
    ]
    return Iterations(metric, chart, dots)


def suggestions_table(suggestions: Sequence[Suggestion]) -> Table:
    """What may help, with the evidence."""
    rows: list[list[object]] = [
        [
            badge("active" if suggestion.automatic else "idle", suggestion.action),
            "carried out by the next iteration" if suggestion.automatic else "for people",
            parameters_of(suggestion),
            suggestion.because,
        ]
        for suggestion in suggestions
    ]
    columns = ["action", "who", "on what", "because"]
    return Table("Suggestions", columns, rows, wide=True)


def parameters_of(suggestion: Suggestion) -> str:
    """What a suggestion is about, in a line."""
    parts = [
        suggestion.edge_type,
        suggestion.what,
        None if suggestion.factor is None else f"factor {suggestion.factor}",
        None if suggestion.sources is None else f"sources with {suggestion.sources} edges",
    ]
    return ", ".join(part for part in parts if part is not None) or NONE


def link_slices_table(slices: Sequence[LinkSliceQuality], intervals: str) -> Table:
    """Recall@20 by slice with its interval, beside the best baseline.

    Args:
        intervals: How they were made.
    """
    rows: list[list[object]] = [
        [
            row.edge_type, row.slice, number(row.pairs), number(row.sources),
            number(row.recall_at_20), span(row.low, row.high), best_baseline(row.baselines),
        ]
        for row in slices
    ]  # fmt: skip
    columns = ["edge type", "slice", "pairs", "sources", "Recall@20", "interval", "best baseline"]
    return Table(
        "Held-out links by slice: Recall@20 with its interval", columns, rows,
        numeric=[2, 3, 4, 5], note=f"Intervals: {intervals}.", wide=True,
    )  # fmt: skip


def best_baseline(baselines: Mapping[str, float]) -> str:
    """The baseline that did best, and its value."""
    best = max(baselines, key=lambda name: (baselines[name], name), default=None)
    return NONE if best is None else f"{METHODS.get(best, best)} {number(baselines[best])}"


def user_slices_table(slices: Sequence[UserSliceQuality]) -> Table:
    """Quality of the score by what is known of the users."""
    rows: list[list[object]] = [
        [
            row.slice, number(row.users), number(row.positives), number(row.auc),
            NONE if row.low is None or row.high is None else span(row.low, row.high),
            number(row.boosting_auc), number(row.predicted),
            f"{row.observed:.3f} ({span(row.observed_low, row.observed_high)})",
            number(row.calibration_error),
        ]
        for row in slices
    ]  # fmt: skip
    columns = [
        "users", "number", "outcome 1", "AUC", "interval", "boosting AUC", "predicted", "observed",
        "calibration error",
    ]  # fmt: skip
    return Table("Score by slice of users", columns, rows, numeric=range(1, 9), wide=True)


def span(low: float, high: float) -> str:
    """An interval."""
    return f"{low:.3f} to {high:.3f}"


def worst_users_table(users: Sequence[WorstUser], pages: Pages) -> Table:
    """The most confident errors, each with what was known of the user."""
    rows: list[list[object]] = [
        [
            user_link(user.user_id, pages), user.kind, number(user.score), user.outcome,
            number(user.rules), number(user.boosting), edges_of(user.edges),
            ", ".join(user.rule_hits) or NONE, "; ".join(user.why),
        ]
        for user in users
    ]  # fmt: skip
    columns = ["user", "error", "score", "outcome", "rules", "boosting", "edges", "rules that hit",
               "why"]  # fmt: skip
    return Table(
        "Worst users: the largest confident errors", columns, rows, numeric=[2, 3, 4, 5],
        note="What was said of each by a fit that never saw the user's outcome.", wide=True,
    )  # fmt: skip


def edges_of(edges: Mapping[str, int]) -> SafeString | str:
    """How many neighbours the user had, by type behind a click."""
    counts = sorted(edges.items(), key=lambda item: (-item[1], item[0]))
    if not counts:
        return "0"
    return format_html(
        '<details class="ups-more"><summary>{}</summary>{}</details>',
        number(sum(edges.values())),
        format_html_join("", "{} {}<br>", counts),
    )


def worst_links_table(links: Sequence[WorstLink], pages: Pages) -> Table:
    """The held-out pairs that the model ranked worst, by edge type."""
    rows: list[list[object]] = [
        [
            row.edge_type,
            node(row.source_type, row.source, pages),
            node(row.target_type, row.target, pages, name=row.target_name),
            f"{row.rank:,.0f} of {row.of:,}",
            "; ".join(row.why),
        ]
        for row in links
    ]
    columns = ["edge type", "source", "target", "rank", "why"]
    return Table("Worst edges: held-out pairs ranked last", columns, rows, numeric=[3], wide=True)


def node(node_type: str, node_id: str, pages: Pages, name: str | None = None) -> SafeString | str:
    """A node for people: a user with a link, an item with its name.

    Args:
        pages: Of the users that have one.
    """
    if node_type == USER:
        return user_link(node_id, pages)
    return f"{node_id} ({name})" if name and name != node_id else node_id


def user_link(user_id: str, pages: Pages) -> SafeString | str:
    """The user's page, where there is one."""
    if user_id not in pages:
        return user_id
    return link(pages[user_id], user_id)


def users_named(worst: WorstCases) -> set[str]:
    """Every user that the worst cases name."""
    named = {user.user_id for user in worst.users}
    for row in worst.links:
        ends = ((row.source_type, row.source), (row.target_type, row.target))
        named |= {node_id for node_type, node_id in ends if node_type == USER}
    return named
