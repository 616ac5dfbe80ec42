"""What the harness says of measurements: medians, ratios, JSON; never how long something took."""

import json

import pytest

from benchmarks import harness
from benchmarks.harness import Row, Sample


def row(**change):
    given = {"what": "a", "size": "10", "ours": 2.0, "peer": 12.0, "peer_name": "them"}
    return Row(**(given | change))


def test_a_sample_has_the_median_and_the_spread():
    assert Sample.of([5.0, 1.0, 2.0]) == Sample(median=2.0, low=1.0, high=5.0, repeats=3)


@pytest.mark.parametrize(
    ("change", "ratio", "met"),
    [
        ({"required": 6}, 6.0, True),
        ({"required": 6.1}, 6.0, False),
        ({}, 6.0, None),
        ({"better": "higher", "required": 1}, 1 / 6, False),
        ({"ours": Sample.of([3.0, 4.0, 9.0]), "required": 3}, 3.0, True),
        ({"peer": None, "required": 2}, None, None),
        ({"ours": 0.0, "required": 2}, float("inf"), True),
    ],
)
def test_a_ratio_above_one_is_in_our_favour(change, ratio, met):
    assert (row(**change).ratio, row(**change).met) == (ratio, met)


def test_the_works_take_turns_and_the_first_round_does_not_count():
    calls = []
    works = {name: lambda name=name: calls.append(name) for name in "abc"}
    samples = harness.interleave(works, repeat=3, warmup=1)
    assert calls == list("abc") * 4
    assert [samples[name].repeats for name in "abc"] == [3, 3, 3]


def test_what_is_short_is_called_again_in_its_turn(monkeypatch):
    calls = []
    clock = iter(range(1000))
    monkeypatch.setattr(harness.time, "perf_counter", lambda: next(clock))
    samples = harness.interleave({"a": lambda: calls.append(1)}, repeat=1, turn_seconds=4)
    assert len(calls) == 1 + 4
    assert samples["a"].median == 1 / 4


def test_where_time_is_up_one_round_is_counted_all_the_same():
    calls = []
    ours, peer = harness.measure(lambda: calls.append(1), lambda: calls.append(2), seconds=0)
    assert (ours.repeats, peer.repeats) == (1, 1)
    assert calls == [1, 2, 1, 2]


def test_a_report_is_a_table_and_a_document(tmp_path, capsys):
    rows = [
        row(ours=Sample.of([0.0021, 0.0020, 0.0039]), required=5, notes="they slept", threads=2),
        row(what="memory", ours=1.5e9, peer=None, unit="B", threads=1),
        row(what="quality", ours=0.0, peer=0.4, unit="nDCG", threads=1),
    ]
    path = harness.report(rows, "example", versions={"PostgreSQL": "18.1"}, folder=tmp_path)
    document = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert path.name == "example.json"
    assert set(document) == {"name", "date", "commit", "machine", "versions", "rows"}
    assert document["versions"]["PostgreSQL"] == "18.1"
    assert document["machine"]["cores"] >= 1
    assert document["rows"][0] == {
        "what": "a",
        "size": "10",
        "threads": 2,
        "unit": "s",
        "ours": {"median": 0.0021, "spread": [0.002, 0.0039], "repeats": 3},
        "peer": {"name": "them", "median": 12.0},
        "ratio": 5714.0,
        "better": "lower",
        "required": 5,
        "met": True,
        "notes": "they slept",
    }
    assert (document["rows"][1]["peer"], document["rows"][2]["ratio"]) == (None, None)
    printed = capsys.readouterr().out
    for told in ("2.1 ms [2–3.9]", "5.71e+03 ×", "≥ 5 ×", "met", "they slept", "1.5 GB"):
        assert told in printed


def test_what_never_came_is_infinite_and_not_met(tmp_path, capsys):
    never = row(ours=Sample.of([1.0, float("inf"), float("inf")]), required=1)
    path = harness.report([never], "example", folder=tmp_path)
    told = json.loads(path.read_text(), parse_constant=pytest.fail)["rows"][0]
    assert told["ours"] == {"median": None, "spread": [1.0, None], "repeats": 3}
    assert (told["ratio"], told["met"]) == (0.0, False)
    printed = capsys.readouterr().out
    assert "infinite s [1–infinite]" in printed
    assert "NOT MET" in printed


def test_a_run_that_leaves_something_out_only_prints(monkeypatch, capsys):
    kept = []
    monkeypatch.setattr(harness, "report", lambda rows, name: kept.append(name))
    harness.run(lambda: [row(what="a part")], "example", keep=False)
    printed = capsys.readouterr().out
    assert "a part" in printed
    assert "example.json stays" in printed
    harness.run(lambda: [row()], "example")
    assert kept == ["example"]


def hold(megabytes):
    kept = bytearray(megabytes * 10**6)
    return lambda: bytes(kept)


def test_the_peak_is_what_a_process_of_its_own_held():
    memory = harness.peak_memory(hold, 50)
    assert memory.before >= 50e6
    assert 45e6 < memory.peak - memory.before < 80e6


def test_a_process_that_dies_is_told():
    with pytest.raises(RuntimeError, match="fail_to_prepare ended with"):
        harness.peak_memory(fail_to_prepare)


def fail_to_prepare():
    raise ValueError("no data")
