import numpy as np
import pytest
from drawn import ROWS, drawn_tables

from ml.graph.graph import build_graph, distinct_pairs
from ml.graph.splits import AT_RANDOM, BY_TIME, before, split_graph


def test_one_cut_in_time_for_all_edge_types(population):
    graph = build_graph(population)
    split = split_graph(graph)
    first, second = split.cuts
    assert set(split.method.values()) == {BY_TIME}
    for key in graph.edges:
        assert (split.train.edges[key].time < first).all()
        assert (split.validation[key].time >= first).all()
        assert (split.validation[key].time < second).all()
        assert (split.test[key].time >= second).all()
    sizes = [split.train.num_events, sum(map(len, split.validation.values()))]
    assert np.allclose(np.array(sizes) / graph.num_events, [0.70, 0.15], atol=0.01)


def test_nothing_is_lost_and_observed_is_what_is_known_at_the_test_cut(population):
    graph = build_graph(population)
    split = split_graph(graph)
    for key, edges in graph.edges.items():
        assert len(edges) == len(split.observed.edges[key]) + len(split.test[key])
        assert np.array_equal(
            before(graph, split.cuts[1]).edges[key].src, split.observed.edges[key].src
        )


def test_untimed_pairs_are_held_out_at_random_per_user(population):
    graph = build_graph(population, keep_timestamps=False)
    split = split_graph(graph, seed=1)
    assert split.cuts is None
    assert set(split.method.values()) == {AT_RANDOM}
    for key, edges in graph.edges.items():
        targets = graph.num_nodes[key[2]]
        held = distinct_pairs(split.test[key], targets)
        known = distinct_pairs(split.observed.edges[key], targets)
        assert not set(zip(held.src, held.dst, strict=True)) & set(
            zip(known.src, known.dst, strict=True)
        )
        pairs = graph.pairs(key)
        assert abs(len(held) / len(pairs) - 0.15) < 0.04
        assert len(edges) == len(split.observed.edges[key]) + len(split.test[key])


def test_shares_that_leave_nothing_are_refused():
    with pytest.raises(ValueError, match="below 1"):
        split_graph(build_graph(drawn_tables(ROWS)), validation=0.5, test=0.5)
