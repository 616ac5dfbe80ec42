"""Classes of ages, and pairs apart by them."""

import numpy as np
import pytest
from drawn import START, drawn_tables

from ml.contracts.schema import EdgeType, GraphSchema, NodeType
from ml.graph.ages import DAY, UNKNOWN, Ages, age_of, aged, ageless, all_ages, of_any_age
from ml.graph.graph import UNKNOWN_TIME, build_graph, reverse
from ml.graph.messages import build_messages, pair_tensors
from ml.graph.structure import Structure

USES = ("user", "uses", "app")
NOW = int(START.timestamp())


def test_a_class_begins_at_its_days_and_the_first_has_what_is_later_than_now():
    ages = Ages((1.0, 7.0), NOW)
    days = np.array([-3, 0, 0.99, 1, 6.99, 7, 400])
    assert ages.classes((NOW - days * DAY).astype(np.int64)).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert ages.classes(np.array([UNKNOWN_TIME])).tolist() == [UNKNOWN]
    assert ages.classes(np.array([NOW]), NOW + 7 * DAY).tolist() == [2]


def test_the_age_is_in_the_name_and_comes_off_again():
    assert all_ages(USES, 2) == [USES, ("user", "uses@0", "app"), ("user", "uses@1", "app")]
    for age in (UNKNOWN, 0, 12):
        assert age_of(aged(USES, age)) == age
        assert ageless(aged(USES, age)) == USES
        assert ageless(reverse(aged(USES, age))) == reverse(USES)
    by_key = {USES: 1, aged(USES, 3): 2, reverse(USES): 4}
    assert of_any_age(by_key, USES) == [1, 2]


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
    found = {key: own.T.tolist() for key, own in pairs.items() if ageless(key) == USES}
    assert found == {
        USES: [[2, 1]],
        aged(USES, 0): [[1, 0]],
        aged(USES, 1): [[1, 1]],
        aged(USES, 2): [[0, 0]],
    }
    calls = ("user", "calls", "user")
    assert {key for key in pairs if ageless(key) == calls} == {calls}


def test_what_arrives_is_counted_whatever_its_age(graph):
    ages = Ages((1.0, 30.0), graph.latest())
    plain = build_messages(graph.schema, graph.num_nodes, pair_tensors(graph))
    apart = build_messages(graph.schema, graph.num_nodes, pair_tensors(graph, ages=ages))
    assert apart.log_counts.keys() == plain.log_counts.keys()
    for key, counts in plain.log_counts.items():
        assert apart.log_counts[key].tolist() == counts.tolist()
    assert apart.adjacency.num_edges == plain.adjacency.num_edges


def test_a_structure_with_times_knows_the_latest_event(graph, tmp_path):
    Structure.of(graph, timed=True).save(tmp_path)
    assert Structure.open(tmp_path).latest == graph.latest()
    assert Structure.of(graph).latest is None
