from ml.graph.graph import build_graph
from ml.graph.message_types import MessageType, message_types
from ml.graph.messages import build_messages, pair_tensors

CALLS = MessageType("user", "calls", "user")
ORDERS = MessageType("user", "orders", "product")


def test_messages_run_both_ways_in_the_order_of_the_types(tables):
    graph = build_graph(tables)
    messages = build_messages(graph.schema, graph.num_nodes, pair_tensors(graph))
    relations = messages.adjacency.relations
    assert list(relations) == message_types(graph.schema)
    there, back = relations[CALLS].by_target, relations[CALLS.reversed].by_target
    assert (there.other.tolist(), there.nodes().tolist()) == ([0, 1], [1, 2])
    assert (back.other.tolist(), back.nodes().tolist()) == ([1, 2], [0, 1])


def test_every_node_knows_how_many_reach_it(tables):
    graph = build_graph(tables)
    messages = build_messages(graph.schema, graph.num_nodes, pair_tensors(graph))
    assert messages.log_counts[ORDERS].expm1().round().tolist() == [2, 1, 0]
    assert messages.log_counts[ORDERS.reversed].expm1().round().tolist() == [1, 1, 1, 0]
