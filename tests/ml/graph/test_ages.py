"""Classes of ages, and pairs apart by them."""

import numpy as np
import pytest
from drawn import START, drawn_tables

from ml.contracts.schema import EdgeType, GraphSchema, NodeType
from ml.graph.ages import DAY, Ages
from ml.graph.graph import UNKNOWN_TIME, build_graph
from ml.graph.message_types import UNKNOWN_AGE, MessageType
from ml.graph.messages import build_messages, pair_tensors
from ml.graph.structure import Structure

USES = MessageType("user", "uses", "app")
NOW = int(START.timestamp())


def test_a_class_begins_at_its_days_and_the_first_has_what_is_later_than_now():
    ages = Ages((1.0, 7.0), NOW)
    days = np.array([-3, 0, 0.99, 1, 6.99, 7, 400])
    assert ages.classes((NOW - days * DAY).astype(np.int64)).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert ages.classes(np.array([UNKNOWN_TIME])).tolist() == [UNKNOWN_AGE]
    assert ages.classes(np.array([NOW]), NOW + 7 * DAY).tolist() == [2]


def test_names_with_the_mark_are_refused():
    with pytest.raises(ValueError, match=r"\['user@1', 'calls@1'\] have an '@'"):
        GraphSchema(
            (NodeType("user"), NodeType("user@1")), (EdgeType("user", "calls@1", "user", "call"),)
        )


@pytest.fixture
def graph():
    rows = [
        ("use", "ann", "a1", "app", 0),
        ("use", "ann", "a1", "app", 40),
        ("use", "bob", "a1", "app", 39.5),
        ("use", "bob", "a2", "app", 20),
        ("use", "cat", "a2", "app", None),
        ("use", "cat", "a2", "app", 40),
        ("call", "ann", "bob", "user", None),
    ]
    return build_graph(drawn_tables(rows))


def test_a_pair_is_as_old_as_its_first_event(graph):
    assert graph.latest() == NOW + 40 * DAY
    pairs = pair_tensors(graph, ages=Ages((1.0, 30.0), graph.latest()))
    found = {m: own.T.tolist() for m, own in pairs.items() if m.ageless == USES}
    assert found == {
        USES: [[2, 1]],
        USES.of_age(0): [[1, 0]],
        USES.of_age(1): [[1, 1]],
        USES.of_age(2): [[0, 0]],
    }
    calls = MessageType("user", "calls", "user")
    assert {m for m in pairs if m.ageless == calls} == {calls}


def test_what_arrives_is_counted_whatever_its_age(graph):
    ages = Ages((1.0, 30.0), graph.latest())
    plain = build_messages(graph.schema, graph.num_nodes, pair_tensors(graph))
    apart = build_messages(graph.schema, graph.num_nodes, pair_tensors(graph, ages=ages))
    assert apart.log_counts.keys() == plain.log_counts.keys()
    for message, counts in plain.log_counts.items():
        assert apart.log_counts[message].tolist() == counts.tolist()
    assert apart.adjacency.num_edges == plain.adjacency.num_edges


def test_a_structure_with_times_knows_the_latest_event(graph, tmp_path):
    Structure.of(graph, timed=True).save(tmp_path)
    assert Structure.open(tmp_path).latest == graph.latest()
    assert Structure.of(graph).latest is None
