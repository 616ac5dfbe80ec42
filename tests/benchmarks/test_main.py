"""``python -m benchmarks``: what it starts can be started so, and leaves the JSON that it reads."""

import ast
import contextlib
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as bench
from benchmarks import harness
from benchmarks.harness import Row

MEASURING = ("rows", "usual", "large", "server_version")


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setitem(harness.report.__kwdefaults__, "folder", tmp_path)
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    return tmp_path


def measured(*_, **__):
    return [Row(what="a", size="10", ours=1.0)]


def main_part(path: str):
    """What a module does where it is the one that is run."""
    tree = ast.parse(Path(path).read_text())
    part = next(n for n in tree.body if isinstance(n, ast.If) and "__name__" in ast.dump(n.test))
    return compile(ast.Module(part.body, []), path, "exec")


@pytest.mark.parametrize("name", bench.ALL)
def test_each_benchmark_runs_without_arguments_and_writes_its_json(name, results, monkeypatch):
    module = importlib.import_module(f"benchmarks.{name}")
    for function in MEASURING:
        if hasattr(module, function):
            monkeypatch.setattr(module, function, measured)
    monkeypatch.setattr(module, "servers", lambda **_: contextlib.nullcontext(), raising=False)
    monkeypatch.setattr(module, "server_version", lambda: "18.1", raising=False)
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)
    monkeypatch.setattr(sys, "argv", [name])
    exec(main_part(module.__file__), vars(module))
    assert [path.name for path in results.iterdir()] == [f"{name}.json"]
    assert json.loads((results / f"{name}.json").read_text())["rows"][0]["what"] == "a"


@pytest.fixture
def started(results, monkeypatch):
    """Names in the order they were started; each leaves its JSON, but for ``silent`` ones."""
    names = []

    def start(words, **_):
        name = words[-1].removeprefix("benchmarks.")
        names.append(name)
        if name not in started.silent:
            harness.report(measured(), name)
        return subprocess.CompletedProcess(words, int(name in started.failing))

    started = type("Started", (), {"names": names, "silent": set(), "failing": set()})
    monkeypatch.setattr(bench.subprocess, "run", start)
    monkeypatch.setattr(harness.machine, "commit", lambda: "unknown")
    return started


def test_all_are_run_and_end_well(started, capsys):
    assert bench.main([]) == 0
    assert started.names == list(bench.ALL)
    assert "All that was measured" in capsys.readouterr().out


def test_those_named_are_run_and_a_failure_is_counted(started, capsys):
    started.failing.add("rules")
    assert bench.main(["rules", "ingest"]) == 1
    assert started.names == ["rules", "ingest"]
    assert "failed: rules (exit status 1)" in capsys.readouterr().err


def test_results_of_an_earlier_run_are_not_told_as_those_of_this_one(started, capsys):
    started.silent = {"rules", "ingest"}
    harness.report(measured(), "rules")
    assert bench.main(["rules", "ingest", "hgt"]) == 2
    told = capsys.readouterr().err
    assert "rules (wrote no rules.json)" in told
    assert "ingest (wrote no ingest.json)" in told


def test_what_needs_data_of_ones_own_says_how_it_is_run(started, capsys):
    assert bench.main(["rules", "protocols"]) == 2
    told = capsys.readouterr().err
    assert "python -m benchmarks.protocols" in told
    assert "docs/models.md" in told
    assert bench.main(["nothing"]) == 2
    assert "got nothing, expected some of hgt, " in capsys.readouterr().err
    assert started.names == []
