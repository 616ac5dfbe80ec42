"""The two compilers agree on every expression and every user hypothesis can find."""

import math
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ml.contracts.schema import EDGES, Feature, GraphSchema, NodeType
from ml.rules import frame_compiler
from ml.rules.frame_compiler import for_frame
from ml.rules.parser import parse
from ml.rules.rule_set import compile_rule
from ml.rules.user_compiler import for_user

SCHEMA = GraphSchema(
    nodes=(
        NodeType(
            "user",
            (
                Feature("fee", "numeric"),
                Feature("tenure", "numeric"),
                Feature("plan", "categorical"),
                Feature("level", "categorical"),
            ),
        ),
        NodeType("product"),
        NodeType("app"),
    ),
    edges=EDGES,
)
EVENTS = ("use", "call", "a b'c")
TEXTS = (
    "",
    "a",
    "b",
    "Month-to-month",
    "12",
    " -3.75 ",
    "1e3",
    "1e999",
    "nan",
    "é",
    "\U0001f600",
    "٣",
)

numbers = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 3.0, 12.0, 0.1, 1e308, 5e-324, 2.0**53, 1e15 + 0.5]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-50, 50).map(float),
)
texts = st.one_of(st.sampled_from(TEXTS), st.text(st.characters(codec="utf-8"), max_size=4))
events = st.sampled_from(EVENTS)
comparison = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])


def number_literal(value: float) -> str:
    return f"(-{-value!r})" if math.copysign(1, value) < 0 else repr(value)


def grow_numbers(deeper):
    number, text, condition = deeper
    pair = st.tuples(number, st.sampled_from(["+", "-", "*", "/", "//", "%"]), number)
    several = st.lists(number, min_size=2, max_size=3).map(", ".join)
    return st.one_of(
        pair.map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        number.map(lambda n: f"(-{n})"),
        st.tuples(st.sampled_from(["int", "float"]), st.one_of(number, text, condition)).map(
            lambda p: f"{p[0]}({p[1]})"
        ),
        text.map(lambda t: f"len({t})"),
        st.tuples(st.sampled_from(["max", "min"]), several).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(events, number).map(lambda p: f"event_counts.get({p[0]!r}, {p[1]})"),
    )


def grow_conditions(deeper):
    number, text, condition = deeper
    chain = st.tuples(number, comparison, number, comparison, number)
    either = st.sampled_from([number, text]).flatmap(
        lambda kind: st.tuples(kind, comparison, kind).map(" ".join)
    )
    literals = st.lists(texts.map(repr), min_size=1, max_size=3).map(", ".join)
    values = st.lists(numbers.map(number_literal), min_size=1, max_size=3).map(", ".join)
    return st.one_of(
        either.map(lambda c: f"({c})"),
        chain.map(lambda c: f"({' '.join(c)})"),
        st.tuples(condition, st.sampled_from(["and", "or", "==", "!="]), condition).map(
            lambda p: f"({' '.join(p)})"
        ),
        condition.map(lambda c: f"(not {c})"),
        st.tuples(text, st.sampled_from(["in", "not in"]), literals).map(
            lambda p: f"({p[0]} {p[1]} [{p[2]}])"
        ),
        st.tuples(number, values).map(lambda p: f"({p[0]} in [{p[1]}])"),
        st.tuples(st.one_of(number, text, condition), st.sampled_from(["is", "is not", "=="])).map(
            lambda p: f"({p[0]} {p[1]} None)"
        ),
        events.map(lambda e: f"({e!r} in event_counts)"),
    )


def expressions(depth: int):
    number = st.one_of(
        st.sampled_from(["fee", "tenure"]),
        numbers.map(number_literal),
        events.map(lambda e: f"event_counts[{e!r}]"),
    )
    text = st.one_of(st.sampled_from(["plan", "level"]), texts.map(repr))
    condition = st.one_of(
        st.sampled_from(["True", "False"]), st.tuples(number, comparison, number).map(" ".join)
    ).map(lambda c: f"({c})")
    for _ in range(depth):
        deeper = (number, text, condition)
        number = st.one_of(number, grow_numbers(deeper))
        condition = st.one_of(condition, grow_conditions(deeper))
    return grow_conditions((number, text, condition))


any_number = st.one_of(st.none(), numbers, st.sampled_from([math.nan, math.inf, -math.inf]))
counts = st.one_of(st.none(), st.integers(0, 30), st.integers(-(2**63), 2**63 - 1))
users = st.fixed_dictionaries(
    {
        "fee": any_number,
        "tenure": any_number,
        "plan": st.one_of(st.none(), texts),
        "level": st.one_of(st.none(), texts),
        "event_counts": st.dictionaries(events, counts),
    }
)


def frame_of(rows):
    data = {name: [row[name] for row in rows] for name in ("fee", "tenure", "plan", "level")}
    schema = {"fee": pl.Float64, "tenure": pl.Float64, "plan": pl.String, "level": pl.String}
    frame = pl.DataFrame(data, schema=schema)
    return frame.with_columns(
        pl.Series(f"event_counts.{e}", [row["event_counts"].get(e) for row in rows], pl.Int64)
        for e in EVENTS
    )


@given(expression=expressions(3), rows=st.lists(users, min_size=1, max_size=5))
@settings(max_examples=400, deadline=None)
@example(
    "(fee / 3.0) == (tenure / 3.0)",
    [{"fee": 7.1, "tenure": 7.1, "plan": None, "level": None, "event_counts": {}}] * 3,
)
def test_one_user_and_a_frame_agree(expression, rows):
    rule = compile_rule(expression, SCHEMA)
    frame = frame_of(rows)
    column = rule.column(frame).to_list()
    assert column == [rule.matches(row) for row in rows], expression


@given(value=numbers, by=numbers, rows=st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_arithmetic_gives_the_same_bits(value, by, rows):
    literal = number_literal(by)
    frame = pl.DataFrame({"fee": [value] * rows})
    for sign in ("+", "-", "*", "/", "//", "%"):
        for text in (f"fee {sign} {literal}", f"{literal} {sign} fee", f"2.5 {sign} {literal}"):
            tree = parse(f"{text} is None", SCHEMA).item
            got = for_frame([tree]).run(frame, dtype=float)[0].tolist()
            expected = for_user(tree)({"fee": value})
            assert [None if math.isnan(n) else n for n in got] == [expected] * rows, text


WHOLE = [None, 0, 1, 3, 70, 100]
REAL = [*WHOLE, 2.5, math.nan, math.inf, -math.inf]
COLUMNS = {
    **{str(dtype): (WHOLE, dtype) for dtype in (pl.Int8, pl.UInt8, pl.Int64, pl.UInt64)},
    **{str(dtype): (REAL, dtype) for dtype in (pl.Float32, pl.Float64)},
    "Decimal": ([None if n is None else Decimal(n) for n in WHOLE], pl.Decimal(10, 2)),
    "Boolean": ([None, True, False], pl.Boolean),
    "Null": ([None, None], pl.Null),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(
    "expression",
    [
        "F >= 3",
        "F != 1",
        "F is None",
        "not F is None",
        "not F < 2.5",
        "F / (F - 1) > 1.01 or F == 0",
        "'use' in event_counts and event_counts.get('use', 7) > 2",
        "event_counts.get('use', 7) > 2",
        "not event_counts.get('use', -1) < 0",
    ],
)
def test_columns_of_every_type_of_number_agree(name, expression):
    values, dtype = COLUMNS[name]
    frame = pl.DataFrame(
        {field: pl.Series(values, dtype=dtype) for field in ("fee", "event_counts.use")}
    )
    numbers = [None if value is None else float(value) for value in values]
    rows = [{"fee": number, "event_counts": {"use": number}} for number in numbers]
    rule = compile_rule(expression.replace("F", "fee"), SCHEMA)
    assert rule.column(frame).to_list() == [rule.matches(row) for row in rows]


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["a", "b", "12"]), pl.Null])
@pytest.mark.parametrize(
    "expression",
    [
        "plan == 'a'",
        "not plan == 'a'",
        "plan != 'a' or level is None",
        "plan is None",
        "plan in ['a', '12'] and not level < 'b'",
        "len(plan) > 1",
        "int(plan) == 12",
    ],
)
def test_columns_of_every_type_of_text_agree(dtype, expression):
    values = [None] * 9 if dtype == pl.Null else [None, "a", "b", "12", "a", None, "b", "12", "a"]
    levels = values[1:] + values[:1]
    frame = pl.DataFrame(
        {"plan": pl.Series(values, dtype=dtype), "level": pl.Series(levels, dtype=dtype)}
    )
    rows = [{"plan": a, "level": b} for a, b in zip(values, levels, strict=True)]
    rule = compile_rule(expression, SCHEMA)
    assert rule.column(frame).to_list() == [rule.matches(row) for row in rows]


def test_a_deep_rule_is_computed_part_by_part():
    text = "fee" + " / 2 + fee" * 20 + " > 1"
    rule = compile_rule(text, SCHEMA)
    assert len(for_frame([rule.tree]).instructions) < 150
    assert rule.column(pl.DataFrame({"fee": [0.01, 1.0]})).to_list() == [False, True]


def test_rules_share_what_they_have_in_common():
    trees = [parse(f"fee / tenure > {bound} and plan == 'a'", SCHEMA) for bound in (1, 2)]
    assert len(for_frame(trees).inputs) == 3
    assert len(for_frame(trees).instructions) == len(for_frame(trees[:1]).instructions) + 3


def test_blocks_of_rows_are_put_together(monkeypatch):
    rule = compile_rule("fee > 3 and event_counts.get('use', 1) < 3 or plan == 'a'", SCHEMA)
    rows = [
        {"fee": float(n), "tenure": None, "plan": "ab"[n % 2], "level": None, "event_counts": {}}
        for n in range(11)
    ]
    monkeypatch.setattr(frame_compiler, "BLOCK", 4)
    assert rule.column(frame_of(rows)).to_list() == [rule.matches(row) for row in rows]
