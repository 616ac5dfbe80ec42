"""Ages of edges in the engine: from where they count, and what a late event changes."""

import io
from datetime import timedelta

import numpy as np
import pytest
from incremental_cases import SCHEMAS, TIME, Case, drained, frame_of, graph_of

from ml.hgt.arrivals import SchemaChanged
from ml.hgt.incremental import IncrementalEngine

DAYS = (3.0, 20.0, 200.0)
BUYS = ("user", "buys", "product")


@pytest.fixture
def case():
    return Case(graph_of(SCHEMAS["two sources"], 0), layers=2, edge_ages=DAYS)


def bought(*ago):
    """Fresh pairs, so many days before the latest event of the graph."""
    rows = [("trade", "u6", f"p{i}", "product") for i in range(len(ago))]
    return frame_of(rows, [TIME + timedelta(days=30 - days) for days in ago])


def ages_of(engine):
    found = {}
    for key, relation in engine.adjacency.relations.items():
        for source, target in relation.pairs().T.tolist():
            if key[0] == "user" and engine.caches["user"].ids[source] == "u6":
                found[engine.caches["product"].ids[target]] = key[1]
    return found


def test_an_edge_is_as_old_as_it_was_when_the_engine_began(case):
    engine = IncrementalEngine.start(*case.start)
    engine.apply(bought(-100, 0, 10, 50, 300), now=0.0)
    expected = ["buys@0", "buys@0", "buys@1", "buys@2", "buys@3"]
    assert ages_of(engine) == {f"p{i}": name for i, name in enumerate(expected)}
    again = IncrementalEngine.restore(*case.start[:2], engine.checkpoint())
    again.apply(bought(-100, 0, 10, 50, 300, 10), now=1.0)
    assert ages_of(again) == ages_of(engine) | {"p5": "buys@1"}
    case.append(bought(-100, 0, 10, 50, 300, 10))
    case.check(drained(again, now=2.0), all_fresh=True)


def test_a_late_event_of_a_known_pair_changes_its_age_at_the_next_start_only(case):
    engine = IncrementalEngine.start(*case.start)
    engine.apply(bought(1), now=0.0)
    engine.apply(bought(300), now=1.0)
    assert ages_of(engine) == {"p0": "buys@0"}
    case.append(bought(1))
    case.append(bought(300))
    assert ages_of(IncrementalEngine.start(*case.start)) == {"p0": "buys@3"}


def test_without_times_events_are_of_no_age(case):
    engine = IncrementalEngine.start(*case.start)
    events = bought(1)
    engine.apply(events.drop("timestamp"), now=0.0)
    assert ages_of(engine) == {"p0": "buys"}


def test_a_checkpoint_is_of_one_choice_of_ages(case):
    state = IncrementalEngine.start(*case.start).checkpoint()
    for days in ((), (3.0, 20.0, 100.0)):
        other = Case(case.graph, layers=2, edge_ages=days)
        with pytest.raises(SchemaChanged, match="model"):
            IncrementalEngine.restore(*other.start[:2], state)


def test_a_checkpoint_from_before_there_were_ages_is_read():
    case = Case(graph_of(SCHEMAS["telecom"], 0), layers=2)
    state = IncrementalEngine.start(*case.start).checkpoint()
    with np.load(io.BytesIO(state)) as arrays:
        kept = {name: arrays[name] for name in arrays.files if name != "now"}
    older = io.BytesIO()
    np.savez(older, **kept)
    engine = IncrementalEngine.restore(*case.start[:2], older.getvalue())
    case.check(drained(engine, now=0.0), all_fresh=True)
