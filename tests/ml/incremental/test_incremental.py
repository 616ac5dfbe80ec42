"""What one batch does, what is told of it, and what fails."""

import io

import numpy as np
import polars as pl
import pytest
import torch
from drawn import ROWS, drawn_tables, events_frame
from incremental_cases import SCHEMAS, Case, drained, graph_of

from ml.graph.graph import build_graph
from ml.graph.growing import GrowingAdjacency
from ml.incremental.arrivals import SchemaChanged
from ml.incremental.engine import BrokenEngine, EngineConfig, IncrementalEngine
from ml.incremental.frontier import Frontier
from ml.incremental.intake import Intake
from ml.incremental.priority import PriorityConfig


@pytest.fixture
def case():
    return Case(build_graph(drawn_tables(ROWS)), layers=2)


@pytest.fixture
def engine(case):
    return IncrementalEngine.start(*case.start)


def take(engine, case, rows, *, now=1.0, features=None):
    events = events_frame(rows)
    applied = engine.apply(events, now=now, features=features)
    case.append(events, features)
    return applied


def stale_ids(engine):
    return {
        (name, node_id)
        for name, cache in engine.caches.items()
        for node_id in cache.ids
        if engine.stale_since(name, node_id) is not None
    }


def test_nothing_is_stale_at_the_start(engine, case):
    case.check(engine, all_fresh=True)
    assert stale_ids(engine) == set()
    backlog = engine.backlog(now=5.0)
    assert (backlog.edges, backlog.staleness_p50, backlog.staleness_p99) == (0, 0.0, 0.0)
    assert engine.drain(100, now=5.0).embeddings == {}


def test_a_new_pair_makes_its_ends_and_their_out_neighbours_stale_and_no_others(engine, case):
    applied = take(engine, case, [("call", "dan", "cat", "user", 10)])
    # cat hears from bob and p2, dan from p3; and they from them.
    users = {("user", name) for name in ("dan", "cat", "bob")}
    assert stale_ids(engine) == users | {("product", "p2"), ("product", "p3")}
    assert (applied.new_edges, applied.stale, applied.new_nodes) == (1, 5, {})
    assert engine.backlog(now=3.0).staleness_p50 == 2.0
    case.check(engine)


def test_only_the_frontier_is_gone_through(engine, case):
    applied = take(engine, case, [("call", "dan", "cat", "user", 10)])
    degree = {name: engine.caches["user"].degree.values[place]
              for name, place in engine.caches["user"].index.items()}  # fmt: skip
    assert applied.edges == degree["dan"] + degree["cat"]
    refreshed = engine.refresh("user", ["bob"], now=2.0)
    assert refreshed.edges == degree["bob"]
    assert engine.refresh("user", ["bob"], now=2.0).edges == 0


def test_edges_that_are_followed_to_find_whom_it_reaches_are_counted(engine, case):
    applied = take(engine, case, [("call", "dan", "cat", "user", 10)])
    users = engine.caches["user"]
    # Their states after the first layer changed, of nobody else: all who hear from them are found.
    degree = sum(int(users.degree.values[users.index[name]]) for name in ("dan", "cat"))
    assert applied.followed == degree, "each pair carries messages both ways"
    assert engine.apply(events_frame([]), now=2.0).followed == 0
    features = {"user": user("dan", monthly_fee=99.0, plan="gold")}
    changed = engine.apply(events_frame([]), now=3.0, features=features)
    own = int(users.degree.values[users.index["dan"]])
    assert changed.followed > own, "with the features of dan, and then with the states that changed"


@pytest.mark.parametrize("again", ["at once", "later", "after a restart"])
def test_events_that_come_again_change_nothing(engine, case, again):
    rows = [("order", "dan", "p1", "product", 10), ("call", "eve", "eve", "user", 11)]
    if again == "at once":
        take(engine, case, rows + rows)
    else:
        take(engine, case, rows)
        if again == "after a restart":
            engine = IncrementalEngine.restore(*case.start[:2], engine.checkpoint(), now=case.now)
        drained(engine, now=2.0)
        applied = engine.apply(events_frame(rows), now=3.0)
        assert (applied.events, applied.new_edges, applied.edges, applied.stale) == (2, 0, 0, 0)
        assert stale_ids(engine) == set()
    drained(engine, now=4.0)
    case.check(engine, all_fresh=True)


def test_events_of_an_unknown_type_are_counted_and_ignored(engine, case):
    rows = [("dream", "ann", "bob", "user", 1), ("call", "ann", "p1", "product", 1),
            ("call", None, "bob", "user", 1), ("call", "bob", "cat", "user", 1)]  # fmt: skip
    applied = engine.apply(events_frame(rows), now=1.0)
    assert (applied.events, applied.ignored, applied.new_edges) == (1, 3, 0)
    case.check(engine, all_fresh=True)


def user(user_id, **features):
    none = {"monthly_fee": None, "tenure_months": None, "plan": None, "level": None,
            "device_brand": None}  # fmt: skip
    kinds = {name: pl.Float64 if name in ("monthly_fee", "tenure_months") else pl.String
             for name in none} | {"user_id": pl.String}  # fmt: skip
    return pl.DataFrame([none | features | {"user_id": user_id}], schema=kinds)


def test_a_new_user_enters_with_features(engine, case):
    features = {"user": user("eve", monthly_fee=33.0, plan="unheard of")}
    take(engine, case, [("call", "eve", "ann", "user", 10)], features=features)
    ((eve,), z) = engine.refresh("user", ["eve"], now=1.0).embeddings["user"]
    expected = case.expected()["user"][case.graph.index("user")[eve]]
    np.testing.assert_allclose(z[0], expected, rtol=1e-5, atol=1e-6)
    drained(engine, now=1.0)
    case.check(engine, all_fresh=True)


def test_a_node_may_come_without_events(engine, case):
    features = {"user": user("eve", monthly_fee=33.0)}
    applied = take(engine, case, [], features=features)
    assert applied.new_nodes == {"user": 1}
    assert stale_ids(engine) == {("user", "eve")}
    drained(engine, now=1.0)
    case.check(engine, all_fresh=True)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_changed_features_reach_exactly_as_far_as_the_layers(layers):
    case = Case(build_graph(drawn_tables(ROWS)), layers=layers)
    engine = IncrementalEngine.start(*case.start)
    before = case.expected()
    take(engine, case, [], features={"user": user("dan", monthly_fee=99.0, plan="gold")})
    after = case.expected()
    other = {
        (name, node_id)
        for name, ids in case.graph.node_ids.items()
        for node_id, old, new in zip(ids, before[name], after[name], strict=True)
        if not np.allclose(old, new, rtol=1e-5, atol=1e-6)
    }
    assert other
    assert other <= stale_ids(engine)
    assert len(stale_ids(engine)) == 2  # dan and the product dan clicked: nobody else is near
    case.check(engine)


def test_equal_features_change_nothing(engine, case):
    ann = case.graph.features["user"].with_columns(user_id=pl.Series(case.graph.node_ids["user"]))
    assert engine.apply(events_frame([]), now=1.0, features={"user": ann}).stale == 0


def test_reads_and_unknown_nodes(engine, case):
    take(engine, case, [("call", "dan", "cat", "user", 10)], now=7.0)
    ids, z = engine.refresh("user", ["cat", "nobody", "ann", "cat"], now=8.0).embeddings["user"]
    assert ids == ["cat", "ann"]
    assert z.shape == (2, 64)
    assert engine.stale_since("user", "cat") is None
    assert engine.stale_since("user", "dan") == 7.0
    assert engine.stale_among("user", ["dan", "nobody", "cat"]) == ["dan"]
    assert engine.refresh("user", ["nobody"], now=8.0).embeddings["user"][0] == []
    with pytest.raises(KeyError, match="nobody"):
        engine.stale_since("user", "nobody")
    with pytest.raises(KeyError, match="planet"):
        engine.refresh("planet", ["mars"], now=8.0)


def test_stale_since_is_that_of_the_first_event(engine, case):
    take(engine, case, [("call", "dan", "cat", "user", 10)], now=7.0)
    take(engine, case, [("call", "dan", "ann", "user", 10)], now=9.0)
    assert engine.stale_since("user", "dan") == 7.0
    assert engine.stale_since("user", "ann") == 9.0
    assert engine.backlog(now=10.0).since == 7.0


def test_the_order_of_draining_changes_no_bit():
    found = []
    for priority in (PriorityConfig(), PriorityConfig(recency=0, size=0, degree=9)):
        case = Case(build_graph(drawn_tables(ROWS)), layers=3)
        config = EngineConfig(priority=priority)
        engine = IncrementalEngine.start(*case.start, config=config)
        take(engine, case, [("call", "dan", "cat", "user", 1), ("use", "eve", "a1", "app", 1)])
        drained(engine, now=1.0, budget=1)
        found.append(engine.embeddings("user")[1])
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-7)


# What fails


def test_a_failing_batch_leaves_everything_as_it_was(engine, case):
    events = events_frame([("call", "eve", "fay", "user", 1)])
    wrong = user("eve").with_columns(monthly_fee=pl.lit("a lot"))
    with pytest.raises(Exception, match="a lot"):
        engine.apply(events, now=1.0, features={"user": wrong})
    assert engine.caches["user"].ids == ["ann", "bob", "cat", "dan"]
    case.check(engine, all_fresh=True)
    case.append(events)
    engine.apply(events, now=1.0)
    drained(engine, now=1.0)
    case.check(engine, all_fresh=True)


@pytest.mark.parametrize("place", ["join", "advance", "merge"])
def test_a_batch_that_fails_half_way_ends_the_engine(engine, case, monkeypatch, place):
    """What it has is neither as before nor as after: nobody gets to see it."""
    state = engine.checkpoint()
    owner = {"join": Intake, "advance": Frontier, "merge": GrowingAdjacency}[place]

    def broken(*args, **kwargs):
        raise MemoryError("no room")

    monkeypatch.setattr(owner, place, broken)
    rows = [("call", "eve", "fay", "user", 1)]
    with pytest.raises(MemoryError):
        engine.apply(events_frame(rows), now=1.0)
    monkeypatch.undo()
    calls = [
        lambda: engine.apply(events_frame(rows), now=2.0),
        lambda: engine.drain(10, now=2.0),
        lambda: engine.refresh("user", ["ann"], now=2.0),
        lambda: engine.embeddings("user"),
        lambda: engine.stale_since("user", "ann"),
        lambda: engine.stale_among("user", ["ann"]),
        lambda: engine.backlog(now=2.0),
        lambda: engine.audit(rows=10, seed=0),
        engine.checkpoint,
    ]
    for call in calls:
        with pytest.raises(BrokenEngine, match="restore"):
            call()
    again = IncrementalEngine.restore(*case.start[:2], state, now=case.now)
    take(again, case, rows)
    drained(again, now=3.0)
    case.check(again, all_fresh=True)


def test_an_interrupted_drain_loses_no_row(engine, case, monkeypatch):
    take(engine, case, [("order", "dan", "p1", "product", 10)])
    before = stale_ids(engine)
    finish = engine.model.finish

    def interrupted(node_type, out):
        if node_type == "product":
            raise KeyboardInterrupt
        return finish(node_type, out)

    monkeypatch.setattr(engine.model, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.drain(10**6, now=1.0)
    monkeypatch.undo()
    assert stale_ids(engine) == before
    drained(engine, now=1.0)
    case.check(engine, all_fresh=True)


def test_another_schema_asks_for_a_refresh(engine, case):
    other = graph_of(SCHEMAS["messages"], 0)
    with pytest.raises(SchemaChanged, match="refresh"):
        IncrementalEngine.start(case.model, case.encoder, other)
    theirs = IncrementalEngine.start(*Case(other, layers=2).start)
    with pytest.raises(SchemaChanged, match="refresh"):
        IncrementalEngine.restore(case.model, case.encoder, theirs.checkpoint(), now=0)
    for features in ({"planet": pl.DataFrame()}, {"user": user("ann").drop("plan")}):
        with pytest.raises(SchemaChanged, match="refresh"):
            engine.apply(events_frame([]), now=1.0, features=features)


def test_a_checkpoint_is_of_one_model(engine, case):
    state = engine.checkpoint()
    with torch.no_grad():
        case.model.out.bias += 1
    with pytest.raises(SchemaChanged, match="model"):
        IncrementalEngine.restore(case.model, case.encoder, state, now=0)


OTHER = io.BytesIO()
np.savez(OTHER, something=1)
OTHER = OTHER.getvalue()


@pytest.mark.parametrize("state", [b"", b"nothing", b"PK\x03\x04 and no more", OTHER])
def test_what_is_no_checkpoint_is_refused(case, state):
    with pytest.raises(ValueError, match="no snapshot"):
        IncrementalEngine.restore(case.model, case.encoder, state, now=0)


def test_events_without_the_columns_are_refused(engine):
    with pytest.raises(ValueError, match="target_type"):
        engine.apply(events_frame([]).drop("target_type"), now=1.0)


AUDITED = ["hidden", "local", "identity", "z"]


def column_of(engine, what):
    cache = engine.caches["user"]
    return (cache.hidden[1] if what == "hidden" else getattr(cache, what)).values


@pytest.mark.parametrize("what", AUDITED)
def test_the_audit_finds_what_is_wrong(engine, what):
    assert engine.audit(rows=100, seed=0).relative < 1e-5
    column_of(engine, what)[2] += 0.1
    audit = engine.audit(rows=100, seed=0)
    assert audit.rows == 9
    assert audit.max_abs == pytest.approx(0.1, rel=1e-3)
    assert audit.relative > 0.01


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("what", AUDITED)
def test_what_is_no_number_is_infinitely_wrong(engine, what, value):
    column_of(engine, what)[2, 0] = value
    audit = engine.audit(rows=100, seed=0)
    assert (audit.max_abs, audit.relative) == (np.inf, np.inf)


def test_a_model_that_gives_no_numbers_is_infinitely_wrong(engine):
    """Also where the pass that is compared with gives none."""
    with torch.no_grad():
        engine.model.out.bias[:] = np.nan
    engine.caches["user"].z.values[:] = np.nan
    assert engine.audit(rows=100, seed=0).relative == np.inf


def test_an_audit_does_not_look_at_stale_embeddings(engine, case):
    take(engine, case, [("call", "dan", "cat", "user", 10)])
    engine.caches["user"].z.values[engine.caches["user"].index["dan"]] = 9.0
    assert engine.audit(rows=100, seed=0).relative < 1e-5


def test_an_audit_samples(engine):
    assert engine.audit(rows=3, seed=1).rows == 3


# Hubs


@pytest.mark.parametrize("kept_degree", [1, 10**9])
def test_a_hub_grown_edge_by_edge_is_exact(kept_degree):
    rows = [("call", f"u{i}", "ann", "user", 1) for i in range(300)]
    case = Case(build_graph(drawn_tables(ROWS)), layers=2)
    config = EngineConfig(kept_degree=kept_degree)
    engine = IncrementalEngine.start(*case.start, config=config)
    edges = 0
    for place in range(0, len(rows), 10):
        edges += take(engine, case, rows[place : place + 10]).edges
    # Ann's in-edges are gone through once if kept, else anew with each of the 30 batches.
    assert edges < 1_000 if kept_degree == 1 else edges > 4_000
    drained(engine, now=1.0, budget=10**6)
    case.check(engine, all_fresh=True)


def test_what_a_hub_keeps_does_not_outlive_a_change_of_features():
    case = Case(build_graph(drawn_tables(ROWS)), layers=2)
    engine = IncrementalEngine.start(*case.start, config=EngineConfig(kept_degree=1))
    take(engine, case, [("call", "dan", "bob", "user", 1)])
    for name in ("dan", "bob"):
        features = {"user": user(name, monthly_fee=77.0, plan="gold")}
        take(engine, case, [("call", "cat", "bob", "user", 1)], features=features)
        take(engine, case, [("call", f"friend of {name}", "bob", "user", 1)])
        drained(engine, now=1.0)
        case.check(engine, all_fresh=True)


def test_many_rows_at_once_are_those_of_few(monkeypatch):
    """Above some size keys and values of all sources are made first."""
    graph = graph_of(SCHEMAS["telecom"], 0)
    found = []
    for cost in (0, 10**9):
        monkeypatch.setattr("ml.incremental.recompute.NODE_EDGES", cost)
        monkeypatch.setattr("ml.incremental.recompute.SLICE_ROWS", 3)
        case = Case(graph, layers=3)
        engine = IncrementalEngine.start(*case.start)
        take(engine, case, [("call", "u1", "u6", "user", 1), ("use", "u6", "a1", "app", 1)])
        drained(engine, now=1.0, budget=10**6)
        case.check(engine, all_fresh=True)
        found.append(engine.embeddings("user")[1])
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)
