"""How a measurement of the incremental refresh is judged; nothing is measured here."""

import math
import sys
from types import SimpleNamespace

import pytest

from benchmarks import harness, incremental_end_to_end
from benchmarks.incremental_end_to_end import Tally, follow
from benchmarks.incremental_promise import Found, as_promised, grown, judged, quantile
from controlcenter.operations.demo.client import RequestFailed

P95 = "POST /events/ to the refreshed score, p95"
NEVER_SEEN = "probes that never saw it refreshed"


def found(**change):
    """A measurement that keeps every promise."""
    state = {"lag_seconds": 0.4, "backlog": {"rows": {"user": 30, "product": 2}}}
    given = {
        "users": 100_000,
        "minutes": 10,
        "rate": 200,
        "refreshed": [0.2] * 95 + [1.9] * 5,
        "fresh": [0.5] * 100,
        "sent": 120_100,
        "streamed": 120_000,
        "sending": 600.0,
        "counted": 120_100,
        "memory": [900] * 10 + [1_000] * 90,
        "states": [state],
        "end": {"events": 120_100, "edges_per_event": 900.0, "audit_error": 1e-6},
    }
    return Found(**(given | change))


def verdicts(measured):
    return {row.what: row.met for row in judged(measured)}


def test_a_promise_kept_is_met_in_every_row():
    met = verdicts(found())
    assert [what for what, one in met.items() if one is not True] == [
        "POST /events/ to nothing stale, p95",
        "users stale when all was taken",
        "lag of the loop, at most",
    ]
    assert all(met[what] is None for what in met if met[what] is not True)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"refreshed": [0.2] * 94 + [2.1] * 6}, P95),
        ({"refreshed": []}, P95),
        ({"refreshed": [0.2] * 99 + [math.inf]}, NEVER_SEEN),
        ({"streamed": 118_000}, "events sent a second"),
        ({"sending": 620.0}, "events sent a second"),
        ({"sending": math.inf}, "events sent a second"),
        ({"counted": 120_099}, "events lost"),
        ({"counted": 120_101}, "events lost"),
        ({"end": {"events": 120_099}}, "events the loop did not take"),
        ({"errors": ["RequestFailed: 503"]}, "errors"),
        ({"memory": [900] * 50 + [1_001] * 50}, "memory of the loop's process at the end"),
        ({"memory": []}, "memory of the loop's process at the end"),
    ],
)
def test_what_breaks_a_promise_fails_its_row_alone(change, what):
    assert [name for name, met in verdicts(found(**change)).items() if met is False] == [what]


def test_many_probes_without_an_answer_make_the_quantile_infinite(tmp_path):
    rows = judged(found(refreshed=[0.2] * 94 + [math.inf] * 6))
    late = next(row for row in rows if row.what == P95)
    assert late.ours == math.inf
    assert late.met is False
    assert "max inf s of 100 probes" in late.notes
    assert harness.report(rows, "example", folder=tmp_path).exists()


def test_a_quantile_is_a_value_that_was_seen():
    values = [4.0, 1.0, 3.0, 2.0, math.inf]
    assert [quantile(values, share) for share in (0, 0.2, 0.21, 0.8, 1)] == [1, 1, 2, 4, math.inf]


def test_growth_is_counted_once_all_is_warm():
    assert grown([100] * 10 + [500] * 80 + [510] * 10) == (500, 510)
    assert grown([7, 8]) == (8, 8)
    assert grown([7]) == (math.inf, math.inf)


def test_the_promise_is_about_all_three():
    assert as_promised(users=100_000, minutes=10, rate=200)
    assert not as_promised(users=99_999, minutes=10, rate=200)
    assert not as_promised(users=100_000, minutes=9, rate=200)
    assert not as_promised(users=100_000, minutes=10, rate=199)


@pytest.mark.parametrize(("words", "keep"), [([], True), (["--minutes", "0.5"], False)])
def test_only_a_run_of_the_promised_size_is_kept(monkeypatch, words, keep):
    kept = []
    monkeypatch.setattr(incremental_end_to_end, "rows", judged)
    monkeypatch.setattr(
        incremental_end_to_end, "run", lambda rows, name, keep: kept.append((name, keep))
    )
    monkeypatch.setattr(sys, "argv", ["incremental_end_to_end", *words])
    incremental_end_to_end.main()
    assert kept == [("incremental_end_to_end", keep)]


class Stale:
    """A control center that takes events and answers reads one after the other."""

    def __init__(self, answers):
        self.answers = list(answers)

    def call(self, method, path, body=None):
        if method == "POST":
            return {"accepted": 1, "rejected": []}
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            raise RequestFailed("GET answered 503")
        stale_since, scored_at = answer
        return {"final_score": 0.5, "stale_since": stale_since, "scored_at": scored_at}


OLD, LATER = "2000-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"


@pytest.fixture
def clock(monkeypatch):
    """Each look at the clock is a second later."""
    seconds = iter(range(1_000_000))
    time = SimpleNamespace(monotonic=lambda: float(next(seconds)))
    monkeypatch.setattr(incremental_end_to_end, "time", time)


@pytest.mark.parametrize(
    ("answers", "refreshed", "fresh", "first"),
    [
        ([(None, OLD)], 1.0, 1.0, 1),
        ([(OLD, OLD), (OLD, LATER), (None, LATER)], 2.0, 3.0, 0),
        ([(OLD, OLD), (OLD, LATER)], 2.0, math.inf, 0),
        ([(OLD, OLD)], math.inf, math.inf, 0),
    ],
)
def test_a_probe_waits_for_its_event_but_not_for_ever(clock, answers, refreshed, fresh, first):
    tally = Tally(Found(users=1, minutes=1, rate=1))
    follow(Stale(answers), "u1", {}, tally)
    found = tally.found
    assert (found.refreshed, found.fresh) == ([refreshed], [fresh])
    assert (found.first_reads_fresh, found.sent, found.errors) == (first, 1, [])


def test_a_read_that_fails_is_an_error_and_a_refresh_that_nobody_saw(clock):
    tally = Tally(Found(users=1, minutes=1, rate=1))
    client = Stale([(OLD, OLD), None])
    tally.tried(lambda: follow(client, "u1", {}, tally))
    assert tally.found.refreshed == [math.inf]
    assert tally.found.errors == ["RequestFailed: GET answered 503"]
