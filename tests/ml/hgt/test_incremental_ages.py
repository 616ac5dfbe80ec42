"""Ages of edges in the engine: what was there has them, what comes is young."""

from datetime import timedelta

import pytest
from incremental_cases import SCHEMAS, TIME, Case, drained, frame_of, graph_of

from ml.hgt.arrivals import SchemaChanged
from ml.hgt.incremental import IncrementalEngine

DAYS = (3.0, 20.0, 200.0)


@pytest.fixture
def case():
    return Case(graph_of(SCHEMAS["two sources"], 0), layers=2, edge_ages=DAYS)


def bought(*ago):
    """A user's first events with products 0, 1, …, so many days before those of the graph."""
    rows = [("trade", "u6", f"p{i}", "product") for i in range(len(ago))]
    times = [None if days is None else TIME - timedelta(days=days) for days in ago]
    return frame_of(rows, times)


def ages_of(engine):
    found = {}
    for key, relation in engine.adjacency.relations.items():
        for source, target in relation.pairs().T.tolist():
            if key[0] == "user" and engine.caches["user"].ids[source] == "u6":
                found[engine.caches["product"].ids[target]] = key[1]
    return found


def test_what_comes_is_young_in_whatever_batches_it_comes(case):
    whole, slow = (IncrementalEngine.start(*case.start) for _ in range(2))
    whole.apply(bought(-100, 0, 10, None), now=0.0)
    for late in ([10], [300, 2], [None, 5, 1], [0, 0, 0, 0]):
        slow.apply(bought(*late), now=0.0)
        slow = IncrementalEngine.restore(*case.start[:2], slow.checkpoint())
    assert ages_of(whole) == ages_of(slow) == {f"p{i}": "buys@0" for i in range(4)}


def test_it_has_its_age_when_the_engine_begins_anew(case):
    case.append(bought(-100, 0, 10, 50, 300, None))
    engine = IncrementalEngine.start(*case.start, now=case.now)
    expected = ["buys@0", "buys@0", "buys@1", "buys@2", "buys@3", "buys"]
    assert ages_of(engine) == {f"p{i}": name for i, name in enumerate(expected)}
    case.check(engine, all_fresh=True)
    state = engine.checkpoint()
    case.check(drained(IncrementalEngine.restore(*case.start[:2], state), now=0.0), all_fresh=True)


def test_where_no_edge_has_a_time_a_new_one_has_no_age(case):
    graph = case.graph
    edges = {key: type(own)(own.src, own.dst) for key, own in graph.edges.items()}
    engine = IncrementalEngine.start(*case.start[:2], graph.with_edges(edges))
    engine.apply(bought(1), now=0.0)
    assert ages_of(engine) == {"p0": "buys"}


def test_a_checkpoint_is_of_one_choice_of_ages(case):
    state = IncrementalEngine.start(*case.start).checkpoint()
    for days in ((), (3.0, 20.0, 100.0)):
        other = Case(case.graph, layers=2, edge_ages=days)
        with pytest.raises(SchemaChanged, match="model"):
            IncrementalEngine.restore(*other.start[:2], state)
