"""Who is first, and that everybody's turn comes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.incremental.priority import PriorityConfig, Stale, scores, select

NOW = 100.0


def stale(rows):
    """From (since, changed, change, degree, computed)."""
    columns = list(zip(*rows, strict=True)) or [[]] * 5
    kinds = (np.float64, np.float64, np.float32, np.int64, np.float64)
    return Stale(*(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)))


def one(since=NOW, changed=NOW, change=0.1, degree=10, computed=-np.inf):
    return since, changed, change, degree, computed


def order(rows, budget=10**9, config=None):
    return select(stale(rows), budget, config or PriorityConfig(), now=NOW).tolist()


@pytest.mark.parametrize(
    ("later", "first"),
    [
        (one(changed=NOW - 30), one(changed=NOW)),
        (one(change=0.1), one(change=0.9)),
        (one(degree=10), one(degree=1_000)),
        (one(since=NOW), one(since=NOW - 20)),
    ],
)
def test_recent_large_central_and_old_changes_come_first(later, first):
    assert order([later, first]) == [1, 0]


def test_the_score_is_the_documented_sum():
    config = PriorityConfig(recency=2, half_life=5, size=3, degree=4, patience=8)
    found = scores(stale([one(since=NOW - 16, changed=NOW - 5, change=0.5)]), config, now=NOW)
    expected = 2 / 2 + 3 * 0.5 + 4 * np.log(11) / np.log(1e6 + 1) + 16 / 8
    assert found == pytest.approx([expected])


def test_a_clock_that_stands_still_or_is_behind_makes_no_score_grow():
    ahead = stale([one(since=NOW + 5, changed=NOW + 5, change=9.0, degree=10**9)])
    config = PriorityConfig()
    assert scores(ahead, config, now=NOW) == pytest.approx([config.bound])


def test_equal_scores_keep_their_order():
    assert order([one()] * 5, budget=30) == [0, 1, 2]


def test_nobody_is_stale():
    assert order([]) == []


@given(
    degrees=st.lists(st.integers(0, 50), min_size=1, max_size=30),
    budget=st.integers(0, 200),
)
def test_the_budget_holds_but_for_one_row(degrees, budget):
    rows = [one(degree=degree) for degree in degrees]
    chosen = order(rows, budget)
    cost = stale(rows).cost
    assert len(chosen) == len(set(chosen)) >= 1
    assert cost[chosen].sum() <= budget or len(chosen) == 1
    assert chosen == order(rows)[: len(chosen)]


def test_a_row_larger_than_the_budget_has_its_turn():
    assert order([one(change=1.0, degree=1_000), one(degree=2)], budget=10) == [0]


HUB = PriorityConfig(hub_degree=100, hub_seconds=5)


def test_a_hub_rests_while_others_wait():
    rows = [one(change=1.0, degree=101, computed=NOW - 4), one(), one(degree=100)]
    assert order(rows, config=HUB) == [2, 1]


def test_a_hub_has_its_turn_after_its_rest():
    rows = [one(change=1.0, degree=101, computed=NOW - 5), one()]
    assert order(rows, config=HUB) == [0, 1]


def test_hubs_do_not_rest_for_nobody():
    rows = [one(degree=101, computed=NOW), one(degree=200, computed=NOW)]
    assert sorted(order(rows, config=HUB)) == [0, 1]


@given(data=st.data())
@settings(deadline=None)
def test_nobody_starves(data):
    """Under steady load every row is drained within bound · patience + one round of all rows."""
    config = PriorityConfig(hub_degree=20, hub_seconds=3, half_life=2, patience=2)
    degrees = np.array(data.draw(st.lists(st.integers(0, 40), min_size=2, max_size=20)), np.int64)
    busy = data.draw(st.integers(1, len(degrees)))
    seed = data.draw(st.integers(0, 9))
    budget = int(degrees.max()) + 5
    generator = np.random.default_rng(seed)
    cost = np.maximum(degrees, 1)
    # In every tick but a hub's the budget is half used at least, as no row is larger than it.
    round_of_all = np.ceil(2 * cost.sum() / budget) + len(degrees) * config.hub_seconds
    limit = config.bound * config.patience + round_of_all
    since = np.full(len(degrees), np.inf)
    changed, computed = np.zeros(len(degrees)), np.full(len(degrees), -np.inf)
    change = np.zeros(len(degrees), np.float32)
    for now in range(int(3 * limit)):
        # The load never ends: some rows change again and again, by as much as possible.
        again = generator.random(len(degrees)) < np.where(np.arange(len(degrees)) < busy, 0.9, 0.1)
        since[again] = np.minimum(since[again], now)
        changed[again], change[again] = now, 1.0
        rows = np.flatnonzero(since < np.inf)
        if len(rows):
            waiting = Stale(since[rows], changed[rows], change[rows], degrees[rows], computed[rows])
            done = rows[select(waiting, budget, config, now=now)]
            since[done], change[done], computed[done] = np.inf, 0, now
        assert (now - since[since < np.inf] <= limit).all()


@pytest.mark.parametrize("wrong", [{"recency": -1.0}, {"half_life": 0.0}, {"patience": -1.0}])
def test_weights_that_make_no_order_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        PriorityConfig(**wrong)
