"""Ages of edges in the engine: from where they count, and what a late event changes."""

import io
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from incremental_cases import SCHEMAS, Case, drained, frame_of, graph_of

from ml.graph.message_types import UNKNOWN_AGE
from ml.incremental.arrivals import SchemaChanged
from ml.incremental.engine import IncrementalEngine

DAYS = (3.0, 20.0, 200.0)
GRAPH = graph_of(SCHEMAS["two sources"], 0)
NOW = datetime.fromtimestamp(GRAPH.latest(), UTC)
COME = (-100, 0, 10, 50, 300, None)
CLASSES = (0, 0, 1, 2, 3, UNKNOWN_AGE)


@pytest.fixture
def case():
    return Case(GRAPH, layers=2, edge_ages=DAYS)


def bought(*ago):
    """A user's first events with products 0, 1, …, so many days before the latest of the graph."""
    rows = [("trade", "u6", f"p{i}", "product") for i in range(len(ago))]
    return frame_of(rows, [None if n is None else NOW - timedelta(days=n) for n in ago])


def again(case, engine):
    return IncrementalEngine.restore(*case.start[:2], engine.checkpoint(), now=case.now)


def ages_of(engine):
    found = {}
    for message, relation in engine.adjacency.relations.items():
        for source, target in relation.pairs().T.tolist():
            if message.source == "user" and engine.caches["user"].ids[source] == "u6":
                found[engine.caches["product"].ids[target]] = message.age
    return found


def test_ages_count_back_from_where_the_engine_began(case):
    engine = IncrementalEngine.start(*case.start)
    engine.apply(bought(*COME[:3]), now=0.0)
    engine = again(case, engine)
    engine.apply(bought(*COME), now=1.0)
    assert ages_of(engine) == {f"p{i}": age for i, age in enumerate(CLASSES)}
    case.append(bought(*COME))
    case.check(drained(engine, now=2.0), all_fresh=True)
    anew = IncrementalEngine.start(*case.start, now=case.now)
    assert ages_of(anew) == ages_of(engine)
    case.check(anew, all_fresh=True)


def test_a_pair_keeps_the_age_with_which_it_came_in_whatever_batches(case):
    whole, slow = (IncrementalEngine.start(*case.start) for _ in range(2))
    late = [bought(1, 10), bought(300, None), bought(0, 0)]
    whole.apply(late[0].vstack(late[1]).vstack(late[2]), now=0.0)
    for batch in late:
        slow.apply(batch, now=0.0)
        slow = again(case, slow)
    assert ages_of(whole) == ages_of(slow) == {"p0": 0, "p1": 1}


def test_edges_of_a_type_that_had_no_times_get_ages_once_they_have_some(case):
    graph = case.graph
    edges = {key: type(own)(own.src, own.dst) for key, own in graph.edges.items()}
    case = Case(graph.with_edges(edges), layers=2, edge_ages=DAYS)
    case.now = int(NOW.timestamp())
    engine = IncrementalEngine.start(*case.start, now=case.now)
    case.append(bought(1, 50))
    engine.apply(bought(1, 50), now=0.0)
    assert ages_of(engine) == {"p0": 0, "p1": 2}
    case.check(drained(again(case, engine), now=0.0), all_fresh=True)


def test_a_checkpoint_is_of_one_choice_of_ages(case):
    state = IncrementalEngine.start(*case.start).checkpoint()
    for days in ((), (3.0, 20.0, 100.0)):
        other = Case(case.graph, layers=2, edge_ages=days)
        with pytest.raises(SchemaChanged, match="model"):
            IncrementalEngine.restore(*other.start[:2], state, now=case.now)


def test_a_checkpoint_without_ages_has_the_arrays_that_it_always_had():
    """Those of versions from before there were ages are read on."""
    case = Case(graph_of(SCHEMAS["telecom"], 0), layers=2)
    with np.load(io.BytesIO(IncrementalEngine.start(*case.start).checkpoint())) as arrays:
        pairs = {name for name in arrays.files if "pairs" in name}
    assert pairs == {f"{place}.pairs" for place in range(5)}


def test_a_checkpoint_names_the_arrays_of_ages_as_it_always_did(case):
    engine = IncrementalEngine.start(*case.start)
    engine.apply(bought(*COME), now=0.0)
    with np.load(io.BytesIO(engine.checkpoint())) as arrays:
        pairs = {name: arrays[name] for name in arrays.files if name.startswith("0.pairs")}
    assert set(pairs) == {"0.pairs", *(f"0.pairs@{age}" for age in range(4))}
    new = engine.caches["user"].index["u6"]
    products = [engine.caches["product"].index[f"p{i}"] for i in range(6)]
    assert [new, products[3]] in pairs["0.pairs@2"].T.tolist()
    assert [new, products[5]] in pairs["0.pairs"].T.tolist()
