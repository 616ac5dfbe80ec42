"""What ``python -m benchmarks.hgt`` runs, and that its rows say what is required."""

import sys

import pytest

from benchmarks import hgt
from benchmarks.harness import Memory, Row, Sample


def a_row(what):
    return Row(what=what, size="10", ours=1.0)


@pytest.fixture
def kept(monkeypatch):
    """Rows by whether they were kept."""
    found = []
    monkeypatch.setattr(
        hgt, "usual", lambda *, compiled: [a_row("compiled" if compiled else "plain")]
    )
    monkeypatch.setattr(hgt, "large", lambda: [a_row("large")])
    monkeypatch.setattr(
        hgt, "run", lambda rows, name, keep: found.append(([row.what for row in rows()], keep))
    )
    return found


@pytest.mark.parametrize(
    ("words", "rows", "keep"),
    [
        ([], ["compiled", "large"], True),
        (["--compiled", "--large"], ["compiled", "large"], True),
        (["--no-compiled"], ["plain", "large"], False),
        (["--no-compiled", "--no-large"], ["plain"], False),
    ],
)
def test_all_is_measured_unless_left_out(kept, monkeypatch, words, rows, keep):
    monkeypatch.setattr(sys, "argv", ["hgt", *words])
    hgt.main()
    assert kept == [(rows, keep)]


def small(monkeypatch, seconds):
    """Tiny graphs under the names of the real ones; nothing is timed and no memory measured."""
    for name, users in (("USUAL", 40), ("LARGE", 400)):
        size = hgt.Size(getattr(hgt, name).name, users, 5, 5, users * 20)
        monkeypatch.setattr(hgt, name, size)
    monkeypatch.setattr(hgt.torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(hgt, "_peak", lambda *_: Memory(peak=11 * 10**9, before=10**9))
    monkeypatch.setattr(
        hgt, "interleave", lambda works, **_: {name: Sample.of([seconds[name]]) for name in works}
    )


def test_rows_of_the_usual_graph_name_both_peers(monkeypatch):
    small(monkeypatch, {"ours": 1.0, "peer": 7.0, "compiled": 1.9})
    monkeypatch.setattr(hgt.torch, "compile", lambda stack: stack)
    rows = {row.what: (row.required, row.met) for row in hgt.usual(compiled=True)}
    assert rows == {
        "HGT forward": (6, True),
        "HGT forward, compiled peer": (2, False),
        "HGT train step": (5, True),
        "HGT forward, 6 ages of edges": (None, None),
        "HGT train step, 6 ages of edges": (None, None),
        "HGT forward, peak memory": (4, False),
        "HGT train step, peak memory": (4, False),
    }


@pytest.mark.parametrize(("seconds", "met"), [(19.9, True), (20.1, False)])
def test_rows_of_the_large_graph_are_judged(monkeypatch, seconds, met):
    small(monkeypatch, {"usual": 1.0, "large": seconds})
    cost, memory = hgt.large()
    assert (cost.required, cost.met) == (0.5, met)
    assert (memory.peer, memory.required, memory.met) == (10e9, 1, False)
