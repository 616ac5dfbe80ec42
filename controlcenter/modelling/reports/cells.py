"""What the tables of reports are put together from: the best in bold, sentences, refusals."""

from collections.abc import Iterable, Mapping, Sequence

from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlcenter.platform.common.formatting import NONE, Table, number
from ml.contracts.reports.base import ReportError
from ml.contracts.reports.metrics import LOWER_IS_BETTER, Figures, stored_name


def sentences(notes: Sequence[str]) -> list[str]:
    """What a report says of its own numbers, as sentences."""
    return [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in notes]


def unreadable(error: ReportError) -> Table:
    """In the place of a report's tables: why there are none."""
    return Table("Report", [], warning=f"This report cannot be shown. {error}.", wide=True)


def columns_of(groups: Iterable[Mapping[str, Figures]]) -> list[str]:
    """The figures that somebody has, in the order of their report."""
    fields: dict[str, None] = {}
    measured: set[str] = set()
    for group in groups:
        for figures in group.values():
            fields |= dict.fromkeys(figures.__struct_fields__)
            measured |= figures.known().keys()
    return [name for name in fields if name in measured]


def headings(kind: type[Figures], columns: Sequence[str]) -> list[str]:
    """The figures as reports write them: ``hits@1``."""
    return [stored_name(kind, column) for column in columns]


def compared(
    group: Mapping[str, Figures], labels: Mapping[str, str], columns: Sequence[str]
) -> list[list[object]]:
    """One row a method; the best of each column is bold."""
    figures_of = {method: figures.known() for method, figures in group.items()}
    best = {column: best_of(figures_of, column) for column in columns}
    return [
        [labels[method], *[shown(values.get(c), best[c]) for c in columns]]
        for method, values in figures_of.items()
    ]


def best_of(group: Mapping[str, Mapping[str, float]], column: str) -> float | None:
    """The best value of a metric among methods; None where there is nothing to compare."""
    values = [values[column] for values in group.values() if column in values]
    if len(values) < 2:
        return None
    return min(values) if column in LOWER_IS_BETTER else max(values)


def shown(value: float | None, best: float | None) -> SafeString | str:
    """A value of a cell, bold where it is the best."""
    if value is None:
        return NONE
    return format_html("<b>{}</b>", number(value)) if value == best else number(value)
