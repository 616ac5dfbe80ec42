import re
import shlex
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import protocols
from benchmarks.interactions import features_of, graph_of, read_interactions
from benchmarks.protocols import BATCH, RATES, WRITES, baselines, follow, negatives
from ml.data.synthesis import SynthesisConfig, synthesize
from ml.graph.graph import Edges
from ml.graph.splits import split_graph
from ml.hgt.model import embed
from ml.hgt.training.train import TrainingConfig

KEY = WRITES.key


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_interactions_are_read_in_the_order_of_time(tmp_path):
    early, late = 1082040961, 1082040971
    text = f"who:token\twhat\tat\nu1\ti1\t{late}\nu2\ti1\t{early}\n\ti2\t{early - 5}\n"
    path = written(tmp_path, "a.tsv", text)
    frame = read_interactions(path, ["who:token", "what", "at"])
    assert frame.rows() == [("u2", "i1", early), ("u1", "i1", late)]
    graph = graph_of(frame, RATES)
    assert graph.num_nodes == {"user": 2, "product": 1}
    assert graph.edges[RATES.key].time.tolist() == [early, late]
    untimed = graph_of(read_interactions(path, ["who:token", "what"]), RATES)
    assert untimed.edges[RATES.key].time is None


def test_dates_are_times_too_and_other_text_is_refused(tmp_path):
    path = written(tmp_path, "a.csv", "a,b,t\nu,v,1970-01-02T00:00:00Z\n")
    assert read_interactions(path, ["a", "b", "t"])["time"].to_list() == [86_400.0]
    with pytest.raises(SystemExit, match="line 2 has 'v'"):
        read_interactions(path, ["a", "t", "b"])
    with pytest.raises(SystemExit, match="has no column"):
        read_interactions(path, ["a", "z"])


def test_attributes_are_numbers_or_categories(tmp_path):
    path = written(tmp_path, "users.csv", "id,age,job\nu1,20,cook\nu2,,\n")
    features, frame = features_of(path)
    assert [(f.name, f.kind) for f in features] == [("age", "numeric"), ("job", "categorical")]
    inter = written(tmp_path, "i.csv", "u,i\nu1,a\nu3,a\n")
    graph = graph_of(read_interactions(inter, ["u", "i"]), RATES, {"user": (features, frame)})
    assert graph.features["user"]["age"].to_list() == [20.0, None]


def asked(*arguments):
    return protocols.options().parse_args([str(each) for each in arguments])


def test_messages_do_not_guess_which_column_is_the_time(tmp_path):
    rated = written(tmp_path, "r.csv", "user,item,rating,date\nu,i,3,2002-06-26\n")
    with pytest.raises(SystemExit, match=r"r.csv has .*'rating', 'date'.*--columns .*TIME"):
        protocols.read(asked("messages", rated, "--bipartite"))
    graph, edge = protocols.read(
        asked("messages", rated, "--bipartite", "--columns", "user", "item", "date")
    )
    assert graph.edges[edge.key].time.tolist() == [1025049600]
    sent = written(tmp_path, "m.csv", "from,to,at\na,b,1082040961\n")
    graph, edge = protocols.read(asked("messages", sent))
    assert graph.edges[edge.key].time.tolist() == [1082040961]
    untimed = written(tmp_path, "p.csv", "from,to\na,b\n")
    with pytest.raises(SystemExit, match="--columns"):
        protocols.read(asked("messages", untimed))


def test_what_was_read_is_told(tmp_path):
    sent = written(tmp_path, "m.csv", "from,to,at\na,b,1082040961\nb,c,1082040971\n")
    people = written(tmp_path, "users.csv", "id,age,job\na,24,cook\nb,NULL,writer\nz,3,cook\n")
    task = asked("messages", sent, "--users", people)
    told = protocols.described(*protocols.read(task))
    assert "times: 2004-04-15T14:56:01 to 2004-04-15T14:56:11 (UTC)" in told
    assert "features of user: age numeric, job categorical" in told
    untimed = protocols.described(*protocols.read(asked("ratings", sent)))
    assert "times" not in untimed
    assert "features" not in untimed


def test_attributes_of_nobody_are_refused(tmp_path, capsys):
    rated = written(tmp_path, "r.csv", "user,item\nu1,i1\nu2,i1\nu3,i2\n")
    people = written(tmp_path, "users.csv", "id,age\nu1,24\nu3,53\nu9,1\n")
    graph, _ = protocols.read(asked("ratings", rated, "--users", people))
    assert graph.features["user"]["age"].to_list() == [24, None, 53]
    assert "--users: attributes found for 2 of 3 users" in capsys.readouterr().out
    others = written(tmp_path, "others.csv", "id,age\n1,24\n3,53\n")
    for option, one in (("--users", "u1"), ("--items", "i1")):
        with pytest.raises(SystemExit, match=rf"{option}.* for 0 of .*'1'.*'{one}'"):
            protocols.read(asked("ratings", rated, option, others))
    sent = written(tmp_path, "m.csv", "from,to,at\na,b,1082040961\n")
    with pytest.raises(SystemExit, match=r"--items.*--bipartite"):
        protocols.read(asked("messages", sent, "--items", others))


def test_a_negative_is_another_target_that_exists():
    late = Edges(np.zeros(500, np.int64), np.arange(500) % 3 * 2)
    drawn = negatives(late, np.array([0, 2, 4]), seed=1)
    assert (drawn != late.dst).all()
    assert set(drawn.tolist()) == {0, 2, 4}
    assert np.array_equal(drawn, negatives(late, np.array([0, 2, 4]), seed=1))


@pytest.fixture(scope="module")
def calls():
    made = synthesize(SynthesisConfig(users=150, events=6_000, products=20, apps=10))
    return made.events.filter(type="call").select(
        src="actor", dst="target", time=pl.col("timestamp").dt.epoch("s")
    )


def test_each_batch_is_scored_by_what_was_before_it(calls):
    graph = graph_of(calls, WRITES)
    split = split_graph(graph)
    late = split.test[KEY].take(np.argsort(split.test[KEY].time, kind="stable"))
    seen = []

    def scorers(known):
        seen.append(len(known.edges[KEY]))
        return {name: baselines(known, WRITES)[name] for name in ("EdgeBank",)}

    negative = negatives(late, np.arange(graph.num_nodes["user"]), seed=0)
    value, other = follow(split.observed, KEY, late, negative, scorers)["EdgeBank"]
    before = len(split.observed.edges[KEY])
    assert seen == [before + first for first in range(0, len(late), BATCH)]
    past = {*zip(split.observed.edges[KEY].src, split.observed.edges[KEY].dst, strict=True)}
    expected = []
    for row, pair in enumerate(zip(late.src.tolist(), late.dst.tolist(), strict=True)):
        if row % BATCH == 0:
            past |= {*zip(late.src[:row].tolist(), late.dst[:row].tolist(), strict=True)}
        expected.append(float(pair in past))
    assert value.tolist() == expected
    assert len(other) == len(late)


def test_both_protocols_measure_the_model_beside_all_baselines(calls):
    graph, config = graph_of(calls, WRITES), TrainingConfig(epochs=1)
    rows = protocols.messages(graph, WRITES, config)
    simple = {"popularity", "repeat edges", "EdgeBank", "item-kNN", "EASE"}
    assert set(rows) == {"ours", "embedding"} | simple
    for row in rows.values():
        assert set(row) >= {"ap", "auc", "ap up to date", "auc up to date"}
        assert all(0 <= value <= 1 for value in row.values())
    pairs = calls.select("src", "dst").with_columns(dst="item " + pl.col("dst"))
    found = protocols.ratings(graph_of(pairs, RATES), RATES, config)
    assert set(found) == set(rows)
    assert found["EdgeBank"]["user_ndcg@10"] < 0.2  # what was had in training is no candidate


def test_the_embedding_by_itself_is_the_cosine_and_nothing_else(calls):
    graph = graph_of(calls, WRITES)
    split = split_graph(graph)
    model = protocols.train_model(split, TrainingConfig(epochs=1))
    scorers, src = model.scorers(split.observed, WRITES), np.array([3, 0, 7])
    z = embed(model.trained.model, model.trained.encoder, split.observed)["user"]
    length = np.linalg.norm(z, axis=1)
    cosine = (z[src] @ z.T) / (length[src, None] * length)
    assert np.allclose(scorers["embedding"](src), cosine, atol=1e-5)
    rest = scorers["ours"](src) - model.decoder.weights[WRITES.name].similarity * cosine
    assert rest.std() > 0.1  # the whole score has more in it


def usual_files(folder: Path) -> None:
    """Small files in the layouts of MovieLens 100K and CollegeMsg."""
    draw = np.random.default_rng(0)
    pairs = sorted({(int(u), int(i)) for u, i in draw.integers(1, 40, (900, 2))})
    rated = [f"{u}\t{i}\t3\t{881250949 + n}" for n, (u, i) in enumerate(pairs)]
    written(folder, "u.data", "\n".join(rated))
    jobs = ("writer", "other")
    people = [f"{u}|{20 + u}|{'MF'[u % 2]}|{jobs[u % 2]}|{85000 + u}" for u in range(1, 40)]
    written(folder, "u.user", "\n".join(people))
    sent = [f"{u} {i} {1082040961 + 60 * n}" for n, (u, i) in enumerate(pairs) if u != i]
    written(folder, "CollegeMsg.txt", "\n".join(sent))


def documented() -> list[str]:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    return re.findall(r"^\.venv/bin/python -m benchmarks\.protocols (.+)$", text, re.M)


def test_documented_commands_name_the_usual_files():
    files = [command.split()[1] for command in documented()]
    assert {"u.data", "CollegeMsg.txt"} <= set(files)


@pytest.mark.parametrize("command", documented())
def test_documented_commands_run(command, tmp_path, monkeypatch, capsys):
    usual_files(tmp_path)
    header = "user\titem\trating\ttime\n"
    written(tmp_path, "interactions.tsv", header + (tmp_path / "u.data").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(protocols, "TrainingConfig", partial(TrainingConfig, epochs=1))
    protocols.main(shlex.split(command, comments=True))
    told = capsys.readouterr().out
    name = command.split()[1]
    lines = len((tmp_path / name).read_text().splitlines())
    assert f"{name}: {lines - ('--no-header' not in command)} events" in told
    assert ("times: " in told) == (command.split()[0] == "messages")
    assert ("attributes found for 39 of 39 users" in told) == ("--users" in command)
    assert {"ours", "embedding", "EASE"} <= {line.split()[0] for line in told.splitlines()}


def test_the_table_has_a_row_a_method_and_the_spread_of_seeds():
    text = protocols.table({"ours": [{"ap": 0.5}, {"ap": 0.7}], "EASE": [{"ap": 0.4}, {"ap": 0.4}]})
    lines = text.splitlines()
    assert lines[0].split() == ["ap"]
    assert lines[1].split() == ["ours", "0.6000", "±", "0.1414"]
    assert lines[2].split() == ["EASE", "0.4000", "±", "0.0000"]
