"""Dirty tables, and the definitions in plain loops that the steps are compared with."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import strategies as st

from ml.contracts.schema import TELECOM
from ml.data.frames import EVENT_COLUMNS, Tables, make_tables

NOW = datetime(2025, 6, 1, tzinfo=UTC)
USERS, PRODUCTS, APPS = ["u1", "u2", "u3"], ["p1", "u1"], ["a1"]
TIMES = [
    None,
    datetime(2025, 1, 1, tzinfo=UTC),
    datetime(2025, 1, 2, tzinfo=UTC),
    datetime(1969, 12, 31, tzinfo=UTC),
    NOW + timedelta(days=1),
    NOW + timedelta(days=1, microseconds=1),
]
IDS = st.sampled_from([*USERS, *PRODUCTS, *APPS, "nobody", "", " ", None])
ROWS = st.tuples(
    st.sampled_from([None, "", "e1", "e2", "e3"]),
    st.sampled_from(["call", "order", "click", "use", "sing", "", None]),
    st.sampled_from(TIMES),
    IDS,
    IDS,
    st.sampled_from(["user", "product", "app", "shop", "", None]),
)
NODES = st.lists(st.sampled_from([*USERS, "", None]), max_size=6)


def dirty(users, rows) -> Tables:
    """Tables with these ids of users (their places as fees) and these events, unchecked."""
    return make_tables(
        TELECOM,
        users=pl.DataFrame(
            {"user_id": users, "monthly_fee": [float(i) for i in range(len(users))]},
            schema={"user_id": pl.String, "monthly_fee": pl.Float64},
        ),
        products=pl.DataFrame({"product_id": PRODUCTS}),
        apps=pl.DataFrame({"app_id": APPS}),
        events=pl.DataFrame(rows, schema=dict(EVENT_COLUMNS), orient="row"),
    )


def missing(value):
    return value is None or not value.strip()


def reason_of(row, users):
    """Why an event cannot be, or None."""
    _, kind, time, actor, target, target_type = row
    for name, value in (
        ("actor", actor), ("target", target), ("type", kind), ("target_type", target_type)
    ):  # fmt: skip
        if missing(value):
            return f"missing {name}"
    if TELECOM.edge(kind, target_type) is None:
        return "no edge of this type to this target_type"
    if time is not None and time.year < 1970:
        return "time before 1970"
    if time is not None and time > NOW + timedelta(days=1):
        return "time in the future"
    if actor not in users:
        return "dangling edge: the actor is no node"
    if target not in {"user": users, "product": PRODUCTS, "app": APPS}[target_type]:
        return "dangling edge: the target is no node"
    return None


def first_of_each(rows):
    """Events without those that say what one before says."""
    kept, ids = [], set()
    for row in rows:
        if missing(row[0]) or row[0] not in ids:
            kept.append(row)
            ids.add(row[0])
    unique, facts = [], set()
    for row in kept:
        if row[2] is None or row[1:] not in facts:
            unique.append(row)
            facts.add(row[1:])
    return unique


def balanced(step) -> bool:
    """Whether the changes of a step account for its counts."""
    for table in ("users", "products", "apps", "events"):
        rows = {"removed": 0, "added": 0}
        for change in step.changes:
            if change.table == table:
                rows[change.what] += change.rows
        if step.before[table] - rows["removed"] + rows["added"] != step.after[table]:
            return False
    return True
