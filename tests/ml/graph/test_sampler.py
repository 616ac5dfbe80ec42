"""Draws against brute force: what may be drawn, how much, how evenly, by whom."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.compute.hashing import fold_of, key_of
from ml.contracts.schema import TELECOM
from ml.graph.graph import UNKNOWN_TIME
from ml.graph.message_types import UNKNOWN_AGE, MessageType, message_types, of_any_age
from ml.graph.sampler import ALL, Sampler, View
from ml.graph.structure import Links, Structure

NODES = {"user": 12, "product": 7, "app": 0}
CALLS, ORDERS = ("user", "calls", "user"), ("user", "orders", "product")
CALL, ORDER = MessageType(*CALLS), MessageType(*ORDERS)
FOLDING = View(sampling_key=key_of(1), folding_key=key_of(2), folds=3, part=1)


def structure_of(pairs, times=None, nodes=NODES):
    """A structure of the telecom schema with some pairs; other edge types are empty."""
    links = {}
    for edge in TELECOM.edges:
        chosen = sorted(pairs.get(edge.key, ()))
        array = np.array(chosen, np.int64).reshape(-1, 2)
        time = None
        if times is not None and edge.key in times:
            time = np.array([times[edge.key][pair] for pair in chosen], np.int64)
        links[edge.key] = Links.of(
            array[:, 0], array[:, 1], nodes[edge.source], nodes[edge.target], time
        )
    known = [time for first in (times or {}).values() for time in first.values()]
    latest = None if times is None else max([0, *known])
    return Structure(TELECOM, nodes, links, from_start=nodes, latest=latest)


def dense(seed=0, share=0.6):
    chance = np.random.default_rng(seed)
    return {
        key: {
            (u, v) for u in range(NODES[key[0]]) for v in range(NODES[key[2]])
            if chance.random() < share
        }
        for key in (CALLS, ORDERS)
    }  # fmt: skip


def edges_of(sample, layer):
    """Edges of a hop by message type, as nodes of the graph."""
    found = {}
    for message, relation in sample.hops[layer].adjacency.relations.items():
        rows = relation.by_target
        sources = sample.nodes[message.source][rows.other.numpy()]
        targets = sample.nodes[message.target][rows.nodes().numpy()]
        found[message] = list(zip(sources.tolist(), targets.tolist(), strict=True))
        back = relation.by_source
        turned = zip(back.nodes().tolist(), back.other.tolist(), strict=True)
        ahead = zip(rows.other.tolist(), rows.nodes().tolist(), strict=True)
        assert sorted(turned) == sorted(ahead)
    return found


def visible(structure, pairs, view):
    """Edges of every message type that a view sees, by its definition."""
    found = {message: set() for message in message_types(TELECOM)}
    sampler = Sampler(structure, [ALL])
    for key, chosen in pairs.items():
        folding_key = sampler.fold_key(key, view)
        for u, v in chosen:
            if view.part < 0 or fold_of(u, v, view.folds, folding_key) != view.part:
                found[MessageType(*key)].add((u, v))
                found[MessageType(*key).reversed].add((v, u))
    return found


@pytest.mark.parametrize("fanout", [1, 3, ALL])
def test_draws_are_of_what_may_be_seen_and_as_many_as_there_may_be(fanout):
    pairs = dense()
    structure = structure_of(pairs)
    truth = visible(structure, pairs, FOLDING)
    sampler = Sampler(structure, [fanout])
    edges = edges_of(sampler.sample(sampler.everything(), FOLDING), 0)
    for message, drawn in edges.items():
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) <= truth[message]
        for v in range(NODES[message.target]):
            there = sum(target == v for _, target in truth[message])
            assert sum(target == v for _, target in drawn) == min(there, fanout)


def test_a_fold_is_hidden_in_both_directions_and_a_third_of_the_pairs():
    pairs = dense(share=0.9)
    structure = structure_of(pairs)
    sampler = Sampler(structure, [ALL])
    hidden = 0
    for part in range(3):
        view = View(key_of(1), key_of(2), 3, part)
        edges = edges_of(sampler.sample(sampler.everything(), view), 0)
        supervised = sampler.supervised(CALLS, 0, len(pairs[CALLS]), view, shuffle=False)
        batch = set(zip(*supervised.tolist(), strict=True))
        assert not batch & set(edges[CALL])
        assert not {(v, u) for u, v in batch} & set(edges[CALL.reversed])
        assert batch | set(edges[CALL]) == pairs[CALLS]
        hidden += len(batch)
    assert hidden == len(pairs[CALLS])


def test_shuffled_windows_have_every_pair_once():
    pairs = dense(share=0.9)
    structure, size = structure_of(pairs), len(pairs[CALLS])
    sampler, seen = Sampler(structure, [ALL]), []
    for low in range(0, size, 30):
        for part in range(3):
            view = View(key_of(1), key_of(2), 3, part)
            batch = sampler.supervised(CALLS, low, min(low + 30, size), view, shuffle=True)
            seen += list(zip(*batch.tolist(), strict=True))
    assert sorted(seen) == sorted(pairs[CALLS])
    assert seen != sorted(pairs[CALLS])


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_node_draws_the_same_whoever_asks(layers):
    structure = structure_of(dense())
    sampler = Sampler(structure, [3] * layers)
    whole = edges_of(sampler.sample(sampler.everything(), FOLDING), 0)
    sample = sampler.sample({"user": np.array([7, 2]), "product": np.array([4])}, FOLDING)
    needed = {"user": {2, 7}, "product": {4}, "app": set()}
    for layer in reversed(range(layers)):
        edges = edges_of(sample, layer)
        for message, drawn in edges.items():
            expected = (e for e in whole[message] if e[1] in needed[message.target])
            assert sorted(drawn) == sorted(expected)
        for name in needed:
            below = {u for m, drawn in edges.items() if m.source == name for u, _ in drawn}
            needed[name] = needed[name] | below
            size = sample.sizes[layer][name]
            assert set(sample.nodes[name][:size].tolist()) == needed[name]
    assert sample.nodes["user"][:2].tolist() == [7, 2]
    again = sampler.sample({"user": np.array([7, 2]), "product": np.array([4])}, FOLDING)
    assert edges_of(again, 0) == edges_of(sample, 0)


def test_threads_change_nothing():
    chance = np.random.default_rng(0)
    code = np.unique(chance.integers(0, 6000 * 50, 40_000))
    nodes = {"user": 6000, "product": 50, "app": 0}
    pairs = {ORDERS: set(zip((code // 50).tolist(), (code % 50).tolist(), strict=True))}
    structure = structure_of(pairs, nodes=nodes)
    before, drawn = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            sampler = Sampler(structure, [4])
            drawn.append(edges_of(sampler.sample(sampler.everything(), FOLDING), 0))
    finally:
        torch.set_num_threads(before)
    assert drawn[0] == drawn[1]


def test_degrees_are_counted_before_the_cap_and_without_what_is_hidden():
    pairs = dense()
    structure = structure_of(pairs)
    truth = visible(structure, pairs, FOLDING)
    sampler = Sampler(structure, [1])
    top = sampler.sample(sampler.everything(), FOLDING).hops[-1]
    for message, seen in truth.items():
        degree = np.bincount([v for _, v in seen], minlength=NODES[message.target])
        np.testing.assert_allclose(top.log_counts[message].numpy(), np.log1p(degree), rtol=1e-6)


TIMES = st.one_of(st.just(int(UNKNOWN_TIME)), st.integers(0, 20))


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(
        st.tuples(st.integers(0, 11), st.integers(0, 6), TIMES), min_size=1, max_size=60
    ),
    before=st.integers(-1, 22),
    fanout=st.sampled_from([1, 3, ALL]),
)
def test_no_edge_is_later_than_asked_for(events, before, fanout):
    first = {}
    for u, v, time in events:
        first[u, v] = min(time, first.get((u, v), time))
    structure = structure_of({ORDERS: set(first)}, {ORDERS: first})
    sampler = Sampler(structure, [fanout])
    view = View(key_of(3), key_of(4), 3, 0, before)
    sample = sampler.sample(sampler.everything(), view)
    allowed = {pair for pair, time in first.items() if time < before}
    edges = edges_of(sample, 0)
    for message in (ORDER, ORDER.reversed):
        turn = message.reverse
        drawn = [(v, u) if turn else (u, v) for u, v in edges[message]]
        assert set(drawn) <= allowed
        for node in range(NODES[message.target]):
            end = 0 if turn else 1
            there = sum(pair[end] == node for pair in allowed)
            assert sum(pair[end] == node for pair in drawn) == min(there, fanout)
            counted = float(sample.hops[0].log_counts[message][node].expm1())
            assert counted == pytest.approx(there, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.dictionaries(st.tuples(st.integers(0, 11), st.integers(0, 6)), TIMES, max_size=60),
    untimed=st.sets(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=30),
    view=st.sampled_from([View(), FOLDING, View(before=9), View(key_of(3), key_of(4), 3, 0, 15)]),
    fanout=st.sampled_from([1, 3, ALL]),
)
def test_each_edge_has_the_age_that_it_had_then(pairs, untimed, view, fanout):
    """The same edges may be seen, and as many of them are drawn, as without ages."""
    day = 86_400
    first = {pair: t if t == UNKNOWN_TIME else t * day for pair, t in pairs.items()}
    view = replace(view, before=None if view.before is None else view.before * day)
    structure = structure_of({ORDERS: set(first), CALLS: untimed}, {ORDERS: first})
    plain = Sampler(structure, [fanout])
    sampler = Sampler(structure, [fanout], edge_ages=(2.0, 5.0))
    edges = edges_of(sampler.sample(sampler.everything(), view), 0)
    without = edges_of(plain.sample(plain.everything(), view), 0)
    seen = edges_of(Sampler(structure, [ALL]).sample(plain.everything(), view), 0)
    now = max([0, *first.values()]) if view.before is None else view.before
    for message in message_types(TELECOM):
        drawn = [edge for found in of_any_age(edges, message) for edge in found]
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) <= set(seen[message])
        assert sorted(v for _, v in drawn) == sorted(v for _, v in without[message])
    for message, found in edges.items():
        for edge in found:
            time = first.get(edge[::-1] if message.reverse else edge, UNKNOWN_TIME)
            if message.edge_key != ORDERS or time == UNKNOWN_TIME:
                assert message.age == UNKNOWN_AGE
            else:
                days = (now - time) / day
                assert message.age == (days >= 2) + (days >= 5)


def test_ages_without_times_are_refused():
    with pytest.raises(ValueError, match="made without times"):
        Sampler(structure_of({}), [3], edge_ages=(1.0,))


def test_a_fanout_below_one_is_refused():
    with pytest.raises(ValueError, match="expected one of at least 1"):
        Sampler(structure_of({}), [3, 0])
