"""What the pages of the admin are put together from: badges, tables, texts. No model is known."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

TONES = {
    "good": {"ready", "completed", "done", "active"},
    "bad": {"invalid", "failed", "lost"},
    "busy": {"generating", "validating", "running"},
}
"""States by how they look; any other is idle."""

NONE = "–"
NOT_VALIDATED = "not validated"


@dataclass(frozen=True)
class Table:
    """A table that a template shows as it is.

    Args:
        numeric: Indices of the columns that are set to the right.
        notes: Sentences under the title, one a line.
        warning: What has to be seen before the numbers.
        wide: Over the whole page.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]] = ()
    numeric: Sequence[int] = ()
    note: str = ""
    notes: Sequence[str] = ()
    warning: str = ""
    wide: bool = False


def register_busy(states: Iterable[str]) -> None:
    """A room above says in which states its things are at work."""
    TONES["busy"].update(states)


def tone(state: str) -> str:
    """How a state looks: good, bad, busy or idle."""
    return next((name for name, states in TONES.items() if state in states), "idle")


def badge(state: str, text: str = "") -> SafeString:
    """A state in its colour; the word itself says it too."""
    return format_html('<span class="ups-badge ups-{}">{}</span>', tone(state), text or state)


def validated(basis: str) -> bool | None:
    """Whether a score says more than the rules it is made of; None where there is no score.

    Args:
        basis: What it was trained on: ``label``, ``future behaviour`` or ``rules``.
    """
    return basis != "rules" if basis else None


def scored(value: object, proven: bool | None) -> SafeString | str:
    """A score, or a measure of it, with a badge where nothing validated the score.

    Args:
        proven: As told by ``validated``, or by the report of the score.
    """
    if proven is False:
        return format_html("{} {}", number(value), badge("invalid", NOT_VALIDATED))
    return number(value)


def pretty(data: Any) -> SafeString:
    """JSON for reading."""
    if data in (None, {}, []):
        return format_html("{}", NONE)
    return format_html('<pre class="ups-json">{}</pre>', json.dumps(data, indent=2, default=str))


def link(url: str, text: object) -> SafeString:
    """A link; both parts are escaped."""
    return format_html('<a href="{}">{}</a>', url, text)


def number(value: object) -> str:
    """A metric to four digits, a count in groups of three, anything else as it is."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def plain(value: object) -> str:
    """A value of a user as people write it."""
    return f"{value:,.10g}" if isinstance(value, float) else number(value)


def when(moment: datetime | None) -> str:
    """A moment to the minute, in UTC like all times of the console."""
    return f"{moment:%Y-%m-%d %H:%M}" if moment else NONE


def duration(begin: datetime | None, end: datetime | None) -> str:
    """Time between two moments, in words."""
    if begin is None or end is None:
        return NONE
    seconds = max((end - begin).total_seconds(), 0.0)
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def bar(share: object, label: str) -> SafeString:
    """A progress bar, with its value in words for those who don't see it."""
    value = min(max(share if isinstance(share, int | float) else 0.0, 0.0), 1.0)
    return format_html(
        '<progress class="ups-progress" max="1" value="{}" aria-label="{}">{}</progress>',
        f"{value:.4f}",
        label,
        f"{value:.0%}",
    )
