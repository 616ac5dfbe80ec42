"""Whatever comes in, the answer is tables with a report that adds up, or a sentence."""

import contextlib
import io
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.contracts.mapping import MappingError, parse_mapping
from ml.data import readers
from ml.data.preview import preview
from ml.data.tables import DatasetError, read_tables

NOW = datetime(2025, 7, 1, tzinfo=UTC)
COLUMNS = {
    "id": {"role": "id"},
    "fee": {"role": "numeric"},
    "plan": {"role": ["categorical", "product"], "name": "plan"},
    "churn": {"role": "label", "negative": ["0", "no"]},
}
WIDE = parse_mapping({"format": "wide", "columns": COLUMNS})

cell = st.sampled_from(
    ["", " ", "u1", "u2", "a1", "call", "use", "click", "nan", "2025-01-01", "x"]
)
row = st.lists(cell, min_size=3, max_size=5).map(",".join)
mapping_words = ["format", "wide", "narrow", "tables", "columns", "role", "id", "users", "events"]
mapping_words += ["actor", "target", "type", "name", "positive", "numeric", "label", "product"]
words = st.sampled_from(mapping_words)
leaves = st.one_of(words, st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3))
anything = st.recursive(
    leaves,
    lambda part: st.one_of(
        st.lists(part, max_size=3),
        st.dictionaries(st.one_of(words, leaves.filter(lambda x: x == x)), part, max_size=4),
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("any") / "received"


@pytest.fixture(scope="module")
def small_batches():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "BATCH", 3)
        yield


@pytest.mark.usefixtures("small_batches")
@given(lines=st.lists(row, max_size=12))
@settings(max_examples=60, deadline=None)
def test_every_event_is_accounted_for(lines, path):
    path.write_text("type,actor,target,timestamp\nuse,u1,a1,\n" + "".join(f"{x}\n" for x in lines))
    tables, report = read_tables(path, parse_mapping(None), filename="events.csv", now=NOW)
    counts = report.tables["events"]
    assert counts.rows_read == len(lines) + 1 == counts.rows_kept + counts.rows_rejected
    assert tables.events.height == counts.rows_kept
    assert set(tables.events["actor"]) <= set(tables.users["user_id"])
    edges = {(edge.event, edge.target) for edge in tables.schema.edges}
    assert set(tables.events.select("type", "target_type").iter_rows()) <= edges


@pytest.mark.usefixtures("small_batches")
@given(
    content=st.one_of(
        st.binary(max_size=80), st.text("a1,\n\"';|\t\0é", max_size=80).map(str.encode)
    )
)
@settings(max_examples=150, deadline=None)
def test_any_bytes(content, path):
    path.write_bytes(b"id,fee,plan,churn\n" + content)
    try:
        tables, report = read_tables(path, WIDE, filename="people.csv", now=NOW)
    except DatasetError:
        return
    counts = report.tables["users"]
    assert counts.rows_read == counts.rows_kept + counts.rows_rejected
    assert tables.users.height == counts.rows_kept
    preview(path, filename="people.csv")


@given(content=st.binary(max_size=200), start=st.sampled_from([b"PK\x03\x04", b"PAR1", b""]))
@settings(max_examples=40, deadline=None)
def test_any_bytes_that_say_they_are_something(content, start, path):
    path.write_bytes(start + content)
    for reading in (
        lambda: read_tables(path, WIDE, filename="x.zip", now=NOW),
        lambda: preview(path, filename="x.csv"),
    ):
        with contextlib.suppress(DatasetError):
            reading()


@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_a_parquet_file_with_holes(data, path):
    out = io.BytesIO()
    pl.DataFrame({"id": ["u1"], "fee": [1.0], "plan": ["a"], "churn": [True]}).write_parquet(out)
    content = bytearray(out.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        _, report = read_tables(path, WIDE, filename="people.parquet", now=NOW)
    except DatasetError:
        return
    assert report.tables["users"].rows_read == 1


@given(
    data=st.one_of(
        anything,
        anything.map(lambda x: {"format": "wide", "columns": x}),
        anything.map(lambda x: {"format": "narrow", "tables": {"events": x}}),
    )
)
@settings(max_examples=300, deadline=None)
def test_any_mapping_is_one_or_an_error(data):
    try:
        mapping = parse_mapping(data)
    except MappingError:
        return
    assert parse_mapping(mapping.to_dict()) == mapping
    assert mapping.schema.user.name == "user"
