from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizing_cases import NODES, NOW, ROWS, balanced, dirty, first_of_each, missing, reason_of

from ml.contracts.schema import TELECOM
from ml.optimizing.actions import ActionError
from ml.optimizing.cleaning import clean
from ml.optimizing.deduplicating import deduplicate
from ml.optimizing.optimization import optimize
from ml.optimizing.steps import count_rows


@given(NODES, st.lists(ROWS, max_size=30))
def test_cleaning_removes_exactly_what_cannot_be(users, rows):
    tables, changes = clean(dirty(users, rows), now=NOW)
    known = {user for user in users if not missing(user)}
    assert tables.users["user_id"].to_list() == [user for user in users if user in known]
    verdicts = [reason_of(row, known) for row in rows]
    kept = [row for row, why in zip(rows, verdicts, strict=True) if why is None]
    assert tables.events.rows() == kept
    told = {c.reason: c.rows for c in changes if c.table == "events"}
    assert told == Counter(why for why in verdicts if why is not None)


@given(NODES, st.lists(ROWS, max_size=30))
def test_deduplicating_keeps_the_first_of_each(users, rows):
    tables, changes = deduplicate(dirty(users, rows))
    assert tables.users["user_id"].to_list() == list(dict.fromkeys(users))
    assert tables.events.rows() == first_of_each(rows)
    assert sum(c.rows for c in changes if c.table == "events") == len(rows) - tables.events.height


@given(NODES, st.lists(ROWS, max_size=30))
def test_counts_hold_and_nothing_is_left_to_do(users, rows):
    given_tables = dirty(users, rows)
    tables, steps = optimize(given_tables, [], seed=1, now=NOW)
    assert [step.name for step in steps] == ["clean", "deduplicate"]
    assert steps[0].before == count_rows(given_tables)
    assert steps[0].after == steps[1].before
    assert steps[1].after == count_rows(tables)
    assert all(balanced(step) for step in steps)
    again, nothing = optimize(tables, [], seed=1, now=NOW)
    assert again.events.equals(tables.events)
    for step in nothing:
        assert step.before == step.after
        assert not step.changes
    edges = sum(steps[1].after[edge.name] for edge in TELECOM.edges)
    assert edges == steps[1].after["events"]


def test_the_first_row_of_a_node_is_kept_and_examples_name_rows():
    day = NOW.replace(month=1)
    rows = [(None, "use", day, "u9", "a1", "app"), ("e1", "use", day, "u9", "a1", "app")]
    tables, changes = clean(dirty(["u1", "", "u1"], rows), now=NOW)
    by_table = {change.table: change for change in changes}
    assert by_table["users"].examples == ["''"]
    assert by_table["events"].examples == ["u9 use a1", "e1"]
    tables, changes = deduplicate(tables)
    assert tables.users["monthly_fee"].to_list() == [0.0]
    assert changes[0].examples == ["u1"]


def test_the_same_id_at_another_kind_of_target_is_another_fact():
    day = NOW.replace(month=1)
    rows = [("e1", "click", day, "u2", "u1", "product"), ("e2", "click", day, "u2", "u1", "app")]
    assert deduplicate(dirty(["u2"], rows))[0].events.height == 2


def test_steps_are_plain_data(population):
    _, steps = optimize(population, [], seed=1, now=NOW.replace(year=2100))
    told = steps[0].to_dict()
    assert told["changes"] == []
    assert told["before"] == told["after"]
    assert told["before"]["events"] == population.events.height


def call(**more):
    return {"action": "augment", "edge_type": "user-calls-user", "factor": 2, **more}


BAD = [
    ({}, "action is None, expected 'augment'"),
    ({"action": "shrink"}, "action is 'shrink'"),
    ({"action": "augment", "factor": 2}, "edge_type is None, expected one of"),
    (call(edge_type="user-eats-product"), "user-eats-product"),
    ({"action": "augment", "edge_type": "user-calls-user"}, "factor is None, expected a number"),
    (call(factor="2"), "expected a number above 1, at most 10"),
    (call(factor=True), "factor is True"),
    (call(factor=1), "factor is 1, expected"),
    (call(factor=10.5), "factor is 10.5, expected"),
    (call(factor=float("nan")), "factor is nan"),
    (call(sources="0-4"), "sources is '0-4', expected a range of targets such as '1-4'"),
    (call(sources="1-101"), "from 1 to 100"),
    (call(sources="5-4"), "sources is '5-4'"),
    (call(sources="few"), "sources is 'few'"),
    (call(sources=4), "sources is 4"),
    (call(colour="red"), r"augment got \['colour'\]"),
]


@pytest.mark.parametrize(("suggestion", "words"), BAD)
def test_what_cannot_be_carried_out_is_refused_in_words(population, suggestion, words):
    with pytest.raises(ActionError, match=words):
        optimize(population, [call(), suggestion], seed=1, now=NOW)


def test_what_progress_raises_ends_the_work(population):
    told = []

    def progress(share, message):
        told.append(share)
        if message.startswith("adding"):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        optimize(population, [call(), call()], seed=1, now=NOW, progress=progress)
    assert told == [0.0, 0.25, 0.5]
