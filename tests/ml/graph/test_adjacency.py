import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.contracts.schema import EdgeType, GraphSchema, NodeType
from ml.graph.adjacency import SparseRows, build_adjacency, pair_adjacency, relation_of
from ml.graph.message_types import MessageType, message_types

EDGES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=30)


def as_tensor(edges):
    return torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T


@settings(max_examples=60, deadline=None)
@given(EDGES)
def test_both_views_hold_every_edge_sorted(edges):
    relation = relation_of(as_tensor(edges), 7, 5)
    target = relation.by_target
    pairs = list(zip(target.nodes().tolist(), target.other.tolist(), strict=True))
    assert pairs == sorted((dst, src) for src, dst in edges)
    source = relation.by_source
    pairs = list(zip(source.nodes().tolist(), source.other.tolist(), strict=True))
    assert pairs == sorted(edges)
    for rows in (target, source):
        assert rows.index.dtype == rows.other.dtype == torch.int32
        assert rows.start.dtype == torch.int64
        assert (rows.start.diff() > 0).all()
        assert rows.num_edges == len(edges)


@settings(max_examples=60, deadline=None)
@given(EDGES)
def test_grouping_keeps_the_order_of_one_node(edges):
    node, other = as_tensor(edges)
    rows = SparseRows.group(node, other, 7)
    for r, index in enumerate(rows.index.tolist()):
        got = rows.other[rows.start[r] : rows.start[r + 1]].tolist()
        assert got == [b for a, b in edges if a == index]
    assert rows.index.tolist() == sorted({a for a, _ in edges})


def test_both_directions_of_pairs_equal_sorting_each():
    schema = GraphSchema(
        nodes=(NodeType("user"), NodeType("app")),
        edges=(EdgeType("user", "calls", "user", "call"), EdgeType("user", "uses", "app", "use")),
    )
    generator = torch.Generator().manual_seed(0)
    sizes = {"user": 20, "app": 4}
    pairs = {
        MessageType(*edge.key): torch.stack(
            [
                torch.randint(sizes[end], (50,), generator=generator)
                for end in (edge.source, edge.target)
            ]
        )
        for edge in schema.edges
    }
    shared = pair_adjacency(sizes, pairs)
    both = {message: pairs.get(message) for message in message_types(schema)}
    for message in list(pairs):
        both[message.reversed] = pairs[message].flip(0)
    alone = build_adjacency(sizes, both)
    assert list(shared.relations) == message_types(schema)
    assert shared.num_edges == alone.num_edges == 200
    for message, relation in shared.relations.items():
        for view in ("by_target", "by_source"):
            left, right = getattr(relation, view), getattr(alone.relations[message], view)
            assert torch.equal(left.index, right.index)
            assert torch.equal(left.start, right.start)
            assert torch.equal(left.other, right.other)
    uses = MessageType("user", "uses", "app")
    forward = shared.relations[uses].by_target
    assert shared.relations[uses.reversed].by_source.other is forward.other


@pytest.mark.parametrize("edges", [[(7, 0)], [(0, 5)], [(-1, 0)], [(0, -1)]])
def test_an_edge_at_no_node_is_told(edges):
    with pytest.raises(ValueError, match="expected 0 to 6 and 0 to 4"):
        relation_of(as_tensor(edges), 7, 5)
