import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.evaluation.queries import _random, draw_queries
from ml.graph.graph import Edges, build_graph, distinct_pairs
from ml.graph.splits import split_graph


@pytest.fixture(scope="module", params=[True, False])
def asked(request, population):
    graph = build_graph(population, keep_timestamps=request.param)
    split = split_graph(graph)
    edge = graph.schema.edges[1]
    queries = draw_queries(split, edge, limit=100, generator=np.random.default_rng(3))
    nodes = graph.num_nodes
    held = distinct_pairs(split.test[edge.key], nodes[edge.target])
    known = split.observed.pairs(edge.key)
    return queries, held, known, request.param


def pairs_of(pairs):
    return set(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True))


def test_sources_are_drawn_with_all_of_their_pairs(asked):
    queries, held, _, _ = asked
    got = set(zip(queries.src.tolist(), queries.dst.tolist(), strict=True))
    assert 50 < len(got) == len(queries) <= 100
    assert got == {pair for pair in pairs_of(held) if pair[0] in set(queries.src.tolist())}
    assert queries.held_out == len(held)


def test_negatives_are_what_they_are_said_to_be(asked):
    queries, held, known, timed = asked
    true, past = pairs_of(held), pairs_of(known)
    assert queries.has_random.all()
    for src, dst in zip(queries.src.tolist(), queries.random.tolist(), strict=True):
        assert (src, dst) not in true
        assert timed or (src, dst) not in past
    rows = np.flatnonzero(queries.has_historical)
    assert (len(rows) > 0) == timed
    for src, dst in zip(queries.src[rows], queries.historical[rows], strict=True):
        assert (src, dst) in past - true


@given(
    st.integers(1, 6).flatmap(
        lambda targets: st.tuples(
            st.just(targets),
            st.sets(st.tuples(st.integers(0, 4), st.integers(0, targets - 1))),
            st.lists(st.integers(0, min(4, targets - 1)), min_size=1, max_size=6),
            st.booleans(),
        )
    )
)
def test_random_negatives_are_uniform_over_what_is_not_true(drawn):
    targets, pairs, sources, without_self = drawn
    src, dst = (np.array([pair[end] for pair in pairs], np.int64) for end in (0, 1))
    true = distinct_pairs(Edges(src, dst), targets)
    asked = np.repeat(sources, 400)
    negative, found = _random(
        asked, true, targets, np.random.default_rng(0), without_self=without_self
    )
    for source in set(sources):
        free = {t for t in range(targets) if (source, t) not in pairs}
        free -= {source} if without_self else set()
        assert set(found[asked == source]) == {bool(free)}
        got = negative[asked == source]
        if free:
            assert set(got.tolist()) == free
            times = np.bincount(got)[sorted(free)]
            assert np.allclose(times / len(got), 1 / len(free), atol=0.12)


def test_slices_count_what_was_known(asked):
    queries, _, known, timed = asked
    past = pairs_of(known)
    repeated = [
        pair in past for pair in zip(queries.src.tolist(), queries.dst.tolist(), strict=True)
    ]
    assert queries.slices["repeat"].tolist() == repeated
    assert np.array_equal(queries.slices["new"], ~queries.slices["repeat"])
    assert timed or not any(repeated)
    had = np.array([(known.src == source).sum() for source in queries.src])
    assert np.array_equal(queries.slices["cold 0"], had == 0)
    assert np.array_equal(queries.slices["cold 1-4"], (had >= 1) & (had <= 4))
    assert np.array_equal(queries.slices["cold 5+"], had >= 5)


def test_what_is_taken_out_of_rankings(asked):
    queries, held, known, timed = asked
    source = queries.src[:1]

    def out(name):
        return set(queries.removed[name].rows(source)[1].tolist())

    mine_held = {d for s, d in pairs_of(held) if s == source[0]}
    mine_known = {d for s, d in pairs_of(known) if s == source[0]}
    assert out("new") == mine_held | mine_known
    if timed:
        assert out("filtered") == mine_held
        assert queries.removed["list"] is None
    else:
        assert out("filtered") == mine_held | mine_known
        assert out("list") == mine_known
