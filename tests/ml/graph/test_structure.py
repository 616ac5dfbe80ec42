import json

import numpy as np
import pytest
from drawn import START

from ml.graph.graph import build_graph
from ml.graph.message_types import MessageType
from ml.graph.structure import Links, Structure, first_times

CALLS = ("user", "calls", "user")


def arrays_of(structure):
    return [
        None if side is None else [np.asarray(part) for part in vars(side).values()]
        for links in structure.links.values()
        for side in (
            links.by_source, links.by_target, links.early_by_source, links.early_by_target
        )
    ]  # fmt: skip


@pytest.mark.parametrize("timed", [False, True])
def test_what_is_mapped_from_disk_is_what_was_written(tables, tmp_path, timed):
    structure = Structure.of(build_graph(tables), timed=timed)
    structure.save(tmp_path)
    back = Structure.open(tmp_path)
    assert (back.schema, back.num_nodes) == (structure.schema, structure.num_nodes)
    np.testing.assert_equal(arrays_of(back), arrays_of(structure))


def test_a_pair_is_there_from_its_first_event(tables):
    graph = build_graph(tables)
    begin = int(START.timestamp())
    days = [(time - begin) // 86_400 for time in first_times(graph, CALLS)]
    assert days == [1, 2]  # ann called bob on day 1 and on day 5


def test_both_ends_see_the_same_pairs(tables):
    structure = Structure.of(build_graph(tables), timed=True)
    there = structure.incoming(MessageType(*CALLS))
    assert (there.start.tolist(), there.other.tolist()) == ([0, 0, 1, 2, 2], [0, 1])
    back = structure.incoming(MessageType(*CALLS).reversed)
    assert (back.start.tolist(), back.other.tolist()) == ([0, 1, 2, 2, 2], [1, 2])


def test_rows_of_early_pairs_rise_in_time():
    chance = np.random.default_rng(0)
    code = np.unique(chance.integers(0, 200, 120))
    source, target, time = code // 10, code % 10, chance.integers(0, 50, len(code))
    links = Links.of(source, target, 20, 10, time)
    when = dict(zip(zip(source.tolist(), target.tolist(), strict=True), time, strict=True))
    for side, turn in ((links.early_by_source, False), (links.early_by_target, True)):
        seen = set()
        for v in range(side.num_nodes):
            row = slice(side.start[v], side.start[v + 1])
            assert (np.diff(side.time[row]) >= 0).all()
            for u, told in zip(side.other[row].tolist(), side.time[row], strict=True):
                pair = (u, v) if turn else (v, u)
                assert when[pair] == told
                seen.add(pair)
        assert seen == set(when)
    assert (np.diff(links.early_by_source.time[links.order]) >= 0).all()


def test_pairs_of_nodes_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="expected 0 to 2"):
        Links.of(np.array([0, 3]), np.array([0, 0]), 3, 1)


def test_a_folder_of_another_format_is_refused(tables, tmp_path):
    Structure.of(build_graph(tables)).save(tmp_path)
    about = json.loads((tmp_path / "structure.json").read_text())
    (tmp_path / "structure.json").write_text(json.dumps(about | {"format": 99}))
    with pytest.raises(ValueError, match="expected 1"):
        Structure.open(tmp_path)
