import torch

from ml.graph.graph import build_graph, message_types, reverse
from ml.graph.sampling import build_messages, cap_fanout, pair_tensors

CALLS, ORDERS = ("user", "calls", "user"), ("user", "orders", "product")


def test_messages_run_both_ways_in_the_order_of_the_types(tables):
    graph = build_graph(tables)
    messages = build_messages(graph.schema, graph.num_nodes, pair_tensors(graph))
    relations = messages.adjacency.relations
    assert list(relations) == message_types(graph.schema)
    there, back = relations[CALLS].by_target, relations[reverse(CALLS)].by_target
    assert (there.other.tolist(), there.nodes().tolist()) == ([0, 1], [1, 2])
    assert (back.other.tolist(), back.nodes().tolist()) == ([1, 2], [0, 1])


def test_degrees_are_counted_before_the_cap(tables):
    graph = build_graph(tables)
    generator = torch.Generator().manual_seed(0)
    messages = build_messages(
        graph.schema, graph.num_nodes, pair_tensors(graph), fanout=1, generator=generator
    )
    # p1 has two users, one is kept
    assert messages.adjacency.relations[ORDERS].by_target.num_edges == 2
    assert messages.log_counts[ORDERS][0].expm1().round() == 2


def test_the_cap_holds_for_every_target_and_draws_from_all_edges():
    edge_index = torch.stack([torch.arange(100), torch.arange(100) % 4])
    seen = set()
    for seed in range(40):
        kept = cap_fanout(edge_index, 5, torch.Generator().manual_seed(seed))
        assert torch.bincount(kept[1]).tolist() == [5, 5, 5, 5]
        assert (kept[0] % 4 == kept[1]).all()
        seen |= set(kept[0].tolist())
    assert len(seen) == 100
