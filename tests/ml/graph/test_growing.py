"""A relation that grows beside a set of pairs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.contracts.schema import EdgeType, GraphSchema, NodeType
from ml.graph.adjacency import pair_adjacency, relation_of
from ml.graph.growing import GrowingAdjacency, GrowingRelation
from ml.graph.message_types import MessageType

NODES = st.integers(0, 6)
BATCH = st.lists(st.tuples(NODES, NODES), max_size=8)


def relation_from(pairs, size):
    edges = torch.tensor(sorted(pairs), dtype=torch.long).reshape(-1, 2).T
    return GrowingRelation(relation_of(edges, size, size), size, size)


def listed(end, nodes):
    rows = end.rows(np.array(nodes, np.int64))
    found = {node: [] for node in nodes}
    for row, place in enumerate(rows.index.tolist()):
        start, stop = rows.start[row], rows.start[row + 1]
        found[nodes[place]] = sorted(rows.other[start:stop].tolist())
    return found


@given(
    base=st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3))),
    batches=st.lists(st.tuples(BATCH, st.booleans()), max_size=5),
)
@settings(deadline=None)
def test_it_is_the_set_of_its_pairs(base, batches):
    relation, pairs = relation_from(base, 4), set(base)
    relation.grow(7, 7)
    for batch, merge in batches:
        source, target = np.array(batch, np.int64).reshape(-1, 2).T
        new = relation.add(source, target)
        expected = []
        for pair in batch:
            expected.append(pair not in pairs)
            pairs.add(pair)
        assert new.tolist() == expected
        if merge:
            relation.merge()
            assert relation.num_delta == 0
        assert {tuple(pair) for pair in relation.pairs().T.tolist()} == pairs
        assert relation.num_edges == len(pairs)
    nodes = [6, 0, 3, 2]
    assert listed(relation.by_source, nodes) == {
        u: sorted(v for s, v in pairs if s == u) for u in nodes
    }
    assert listed(relation.by_target, nodes) == {
        v: sorted(u for u, t in pairs if t == v) for v in nodes
    }


def test_weights_spread_to_the_far_ends():
    relation = relation_from({(0, 1), (0, 2), (3, 2)}, 4)
    relation.grow(5, 4)
    relation.add(np.array([4]), np.array([1]))
    total = np.zeros(4, np.float32)
    nodes = np.array([0, 4])
    assert relation.by_source.spread(nodes, np.array([1, 0.5], np.float32), total) == 3
    assert total.tolist() == [0, 1.5, 1, 0]


@pytest.mark.parametrize("edges", [0, 50])
def test_many_edges_of_one_node(edges):
    relation = relation_from(set(), 100)
    others = np.arange(edges)
    relation.add(np.zeros(edges, np.int64), others)
    assert listed(relation.by_source, [0]) == {0: others.tolist()}
    assert not relation.add(np.zeros(edges, np.int64), others).any()


@given(
    base=st.dictionaries(st.tuples(NODES, NODES), st.integers(-1, 2)),
    batches=st.lists(st.tuples(st.integers(-1, 2), BATCH), max_size=5),
    merge=st.booleans(),
)
@settings(deadline=None)
def test_an_edge_keeps_the_age_with_which_it_came(base, batches, merge):
    schema = GraphSchema((NodeType("user"),), (EdgeType("user", "calls", "user", "call"),))
    calls = MessageType(*schema.edges[0].key)
    came, pairs = dict(base), {}
    for age in {-1, *came.values()}:
        own = [pair for pair, its in came.items() if its == age]
        pairs[calls.of_age(age)] = torch.tensor(own, dtype=torch.long).reshape(-1, 2).T
    growing = GrowingAdjacency(
        schema, pair_adjacency({"user": 7}, pairs), merge_share=0, merge_least=0 if merge else 1000
    )
    for age, batch in batches:
        source, target = np.array(batch, np.int64).reshape(-1, 2).T
        new = growing.add(calls.of_age(age), source, target)
        assert new.tolist() == [
            pair not in came and pair not in batch[:place] for place, pair in enumerate(batch)
        ]
        came |= {pair: age for pair in batch if pair not in came}
        growing.merge()
    assert growing.num_edges == 2 * len(came)
    assert set(growing.relations) == {calls.of_age(age) for age in {-1, *dict(batches)}} | set(
        pairs
    )
    for message, relation in growing.relations.items():
        expected = {pair for pair, age in came.items() if calls.of_age(age) == message}
        assert {tuple(pair) for pair in relation.pairs().T.tolist()} == expected
        for node in range(7):
            rows = growing.arriving("user", np.array([node]))[message]
            assert set(rows.other.tolist()) == {u for u, v in expected if v == node}
