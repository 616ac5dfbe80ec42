"""What is promised of the incremental refresh, and a measurement held to it as rows."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.harness import Row

LATE = 2.0
"""Seconds to the refreshed score that 95 of 100 readers see at most."""

PROMISED_MINUTES, PROMISED_USERS, PROMISED_RATE = 10.0, 100_000, 200.0
KEPT_UP = 0.99
"""Share of the asked rate that has to be sent; slower is another measurement."""

FLAT = 0.9
"""Memory when all is warm over that at the end. The graph itself grows by 6 % in the promised time;
what is never given back grows by more."""


@dataclass
class Found:
    """What was measured, in seconds, bytes and numbers of events.

    Args:
        refreshed: For each probe, until the score was made after its event; infinite if it never
            was.
        fresh: The same until the answer says that nothing is stale.
        sent: Events that were accepted, those of the probes too.
        streamed: Those that were sent at the rate, in ``sending`` seconds.
        counted: Events by which the counts of all users have risen.
        stale: Users who were stale when all was consumed.
        memory: Of the loop's process, at equal distances in time.
        states: Answers of the loop under load.
        end: Its answer when it had taken all.
    """

    users: int
    minutes: float
    rate: float
    refreshed: list[float] = field(default_factory=list)
    fresh: list[float] = field(default_factory=list)
    first_reads_fresh: int = 0
    sent: int = 0
    streamed: int = 0
    sending: float = math.inf
    counted: int = 0
    stale: int = 0
    memory: list[int] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many do not exceed; infinite without values.

    Nothing is interpolated: between a number and infinity there is nothing.
    """
    if not values:
        return math.inf
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def grown(memory: Sequence[int]) -> tuple[float, float]:
    """Medians of the second tenth of the samples, when all was warm, and of the last tenth."""
    tenth = max(len(memory) // 10, 1)
    if len(memory) < 2 * tenth:
        return math.inf, math.inf
    return statistics.median(memory[tenth : 2 * tenth]), statistics.median(memory[-tenth:])


def judged(found: Found) -> list[Row]:
    """The rows of the table; a promise is required, the rest informs."""
    size = f"{found.users:,} users, {found.rate:g} events/s, {found.minutes:g} min"
    row = partial(Row, size=size)
    return [*_times(found, row), *_events(found, row), *_loop(found, row)]


def as_promised(*, users: int, minutes: float, rate: float) -> bool:
    """Whether users, time and rate are those of the promise, or above."""
    return users >= PROMISED_USERS and minutes >= PROMISED_MINUTES and rate >= PROMISED_RATE


def _times(found: Found, row: "partial[Row]") -> list[Row]:
    return [
        row(
            what="POST /events/ to the refreshed score, p95",
            ours=quantile(found.refreshed, 0.95),
            peer=LATE,
            peer_name="limit",
            required=1,
            notes=_spread(found.refreshed),
        ),
        _none(row, "probes that never saw it refreshed", found.refreshed.count(math.inf)),
        row(
            what="POST /events/ to nothing stale, p95",
            ours=quantile(found.fresh, 0.95),
            notes=f"{_spread(found.fresh)}; {found.first_reads_fresh} at the first read",
        ),
    ]


def _events(found: Found, row: "partial[Row]") -> list[Row]:
    lost = found.sent - found.counted
    return [
        row(
            what="events sent a second",
            ours=found.streamed / found.sending,
            peer=found.rate,
            peer_name="asked",
            unit="/s",
            better="higher",
            required=KEPT_UP,
            notes=f"{found.streamed:,} events; with those of the probes {found.sent:,}",
        ),
        _none(row, "events lost", lost, notes="below 0: counted twice" if lost < 0 else ""),
        _none(row, "events the loop did not take", found.sent - found.end.get("events", 0)),
        _none(row, "errors", len(found.errors), notes="; ".join(found.errors[:5])),
        row(
            what="users stale when all was taken",
            ours=float(found.stale),
            unit="users",
            notes="by events of others; a read asks for them",
        ),
    ]


def _loop(found: Found, row: "partial[Row]") -> list[Row]:
    warm, end = grown(found.memory)
    lags = [state["lag_seconds"] or 0.0 for state in found.states]
    stale = [sum(state["backlog"]["rows"].values()) for state in found.states]
    work, error = (found.end.get(name) for name in ("edges_per_event", "audit_error"))
    return [
        row(
            what="memory of the loop's process at the end",
            ours=end,
            peer=warm,
            peer_name="itself, when warm",
            unit="B",
            required=FLAT,
            notes=f"{(end - warm) / 1e6:+.1f} MB; medians of the last and the second tenth",
        ),
        row(
            what="lag of the loop, at most",
            ours=max(lags, default=math.inf),
            notes=f"stale rows, at most: {max(stale, default=0):,}; edges an event: {_told(work)}; "
            f"relative error of the last audit: {_told(error)}",
        ),
    ]


def _none(row: "partial[Row]", what: str, count: int, notes: str = "") -> Row:
    """A row about what must not be: 0 is met, all else is not."""
    return row(
        what=what, ours=float(count), peer=0.0, peer_name="limit", unit="", required=1, notes=notes
    )


def _told(number: float | None) -> str:
    return "none" if number is None else f"{number:.3g}"


def _spread(values: Sequence[float]) -> str:
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    shown = (f"{name} {quantile(values, share):.3g} s" for name, share in shares.items())
    return f"{', '.join(shown)} of {len(values)} probes"
