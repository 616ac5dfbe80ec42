import numpy as np
import polars as pl
import pytest
from drawn import ROWS, drawn_tables, events_frame
from hypothesis import given
from hypothesis import strategies as st

from ml.graph.graph import UNKNOWN_TIME, build_graph
from ml.graph.storage import load_graph, save_graph
from ml.graph.structure import Structure

CALLS, ORDERS = ("user", "calls", "user"), ("user", "orders", "product")
DAY = 86_400


def test_ids_map_both_ways(tables):
    graph = build_graph(tables)
    for name, ids in graph.node_ids.items():
        assert [graph.index(name)[node_id] for node_id in ids] == list(range(len(ids)))


def test_events_become_edges_of_their_type(tables):
    graph = build_graph(tables)
    assert {key[1] + " " + key[2]: len(edges) for key, edges in graph.edges.items()} == {
        "calls user": 3, "orders product": 3, "clicks product": 1, "uses app": 1, "clicks app": 1,
    }  # fmt: skip
    assert graph.labels.tolist() == [0, 1, -1, 0]


def test_pairs_are_distinct_with_count_and_latest_time(tables):
    pairs = build_graph(tables).pairs(CALLS)
    assert list(zip(pairs.src, pairs.dst, pairs.count, strict=True)) == [(0, 1, 2), (1, 2, 1)]
    assert pairs.time[0] - pairs.time[1] == 3 * DAY


def test_untimed_data_has_no_times(tables):
    untimed = drawn_tables([(*row[:4], None) for row in ROWS])
    assert all(edges.time is None for edges in build_graph(untimed).edges.values())
    forgotten = build_graph(tables, keep_timestamps=False)
    assert all(edges.time is None for edges in forgotten.edges.values())


def test_an_event_without_time_among_timed_ones_is_the_oldest():
    graph = build_graph(drawn_tables([*ROWS, ("call", "dan", "ann", "user", None)]))
    assert graph.edges[CALLS].time[-1] == UNKNOWN_TIME


def test_sampled_scope_keeps_a_seeded_share_and_drops_dangling_events(tables):
    graph = build_graph(tables, scope="sampled", sample_ratio=0.5, seed=3)
    again = build_graph(tables, scope="sampled", sample_ratio=0.5, seed=3)
    assert graph.node_ids == again.node_ids
    kept = set(graph.node_ids["user"])
    expected = sum(row[1] in kept and (row[3] != "user" or row[2] in kept) for row in ROWS)
    assert len(kept) == 2
    assert graph.num_events == expected
    assert graph.dropped_events == len(ROWS) - expected


@pytest.mark.parametrize("ratio", [0.0, 1.5, -1.0])
def test_a_ratio_out_of_range_is_refused(tables, ratio):
    with pytest.raises(ValueError, match="sample_ratio"):
        build_graph(tables, scope="sampled", sample_ratio=ratio)


def test_append_adds_nodes_at_the_end_and_leaves_the_old_graph(tables):
    graph = build_graph(tables)
    more = graph.append(events_frame([("order", "eve", "p9", "product", 10)]))
    assert more.node_ids["user"] == (*graph.node_ids["user"], "eve")
    assert more.node_ids["product"][-1] == "p9"
    assert more.features["user"]["monthly_fee"][-1] is None
    assert more.labels.tolist() == [0, 1, -1, 0, -1]
    assert (more.edges[ORDERS].src[-1], more.edges[ORDERS].dst[-1]) == (4, 3)
    assert len(graph.edges[ORDERS]) == 3


def test_append_counts_unknown_types(tables):
    more = build_graph(tables).append(events_frame([("sms", "ann", "bob", "user", 1)]))
    assert more.dropped_events == 1


@given(st.permutations(ROWS), st.integers(0, len(ROWS)))
def test_appending_equals_building_at_once(rows, cut):
    whole = build_graph(drawn_tables(rows))
    grown = build_graph(drawn_tables(rows[:cut])).append(events_frame(rows[cut:]))
    assert grown.node_ids == whole.node_ids
    for key in whole.edges:
        a, b = whole.pairs(key), grown.pairs(key)
        assert (a.src.tolist(), a.dst.tolist(), a.count.tolist()) == (
            b.src.tolist(), b.dst.tolist(), b.count.tolist(),
        )  # fmt: skip


def test_a_saved_graph_comes_back(tables, tmp_path):
    graph = build_graph(tables).append(events_frame([("order", "new", "later", "product", 3)]))
    save_graph(graph, tmp_path)
    back = load_graph(tmp_path)
    assert back.node_ids == graph.node_ids
    assert back.listed == graph.listed != graph.num_nodes
    assert back.schema == graph.schema
    assert back.labels.tolist() == graph.labels.tolist()
    for key, edges in graph.edges.items():
        assert np.array_equal(back.edges[key].src, edges.src)
        assert np.array_equal(back.edges[key].time, edges.time)
    for name, frame in graph.features.items():
        assert back.features[name].equals(frame)


def test_a_dataset_without_users_is_refused(tables):
    tables.users = tables.users.filter(pl.lit(False))
    with pytest.raises(ValueError, match="no users"):
        build_graph(tables)


def test_who_has_no_edge_is_known_if_a_table_lists_it_and_nothing_has_times(tables):
    bought = events_frame([("order", "new", "later", "product", 3)])
    for timed in (True, False):
        graph = build_graph(tables, keep_timestamps=timed)
        grown = graph.append(bought if timed else bought.with_columns(timestamp=None))
        early = grown.with_edges(graph.edges)  # the new edge is of the future
        for name, ids in early.node_ids.items():
            linked = {i for k, e in early.edges.items() for end, nodes in
                      ((k[0], e.src), (k[2], e.dst)) if end == name for i in nodes}  # fmt: skip
            expected = linked if timed else linked | set(range(graph.num_nodes[name]))
            assert set(np.flatnonzero(early.known_nodes(name))) == expected
            assert len(ids) == graph.num_nodes[name] + (name in ("user", "product"))
            assert Structure.of(early).known_nodes(name).tolist() == sorted(expected)
