"""Parquet: columns of other types, damage, and files that unpack to too much."""

import io
from pathlib import Path

import polars as pl
import pytest

from ml.data.tables import DatasetError, Limits


def parquet(**columns):
    out = io.BytesIO()
    pl.DataFrame(columns).write_parquet(out)
    return out.getvalue()


def test_parquet_with_text_where_numbers_are_expected(read, rejected):
    data = parquet(
        id=[1.0, 2.0, None],
        fee=["1.5", "abc", "3"],
        plan=[7, 8, 9],
        tv=[True, False, None],
        churn=[1.0, 0.0, None],
    )
    tables, report = read(data, filename="people.parquet")
    assert tables.users.rows() == [("1", 1.5, "7", 1), ("2", None, "8", 0)]
    assert tables.events["actor"].to_list() == ["1"]
    assert rejected(report) == [
        (3, "id", None, "missing id", "row"),
        (2, "fee", "abc", "not a finite number", "value"),
    ]


def test_parquet_with_lists_or_damage(read):
    columns = {"fee": ["1"], "plan": [["a", "b"]], "tv": ["x"], "churn": ["0"]}
    with pytest.raises(DatasetError, match=r"the column 'plan' is List"):
        read(parquet(id=["u1"], **columns), filename="people.parquet")
    whole = parquet(id=["u1"] * 1000, **{name: value * 1000 for name, value in columns.items()})
    for part in (whole[:200], whole[:4] + b"\xff" * 100 + whole[104:], b"PAR1" + b"\x00" * 50):
        with pytest.raises(DatasetError, match=r"damaged|List"):
            read(part, filename="people.parquet")


def test_parquet_that_aborts_the_decoder(read):
    """One byte of each of a few places was changed; Polars 1.44 ends the process on it."""
    data = (Path(__file__).parent / "aborts_decoder.parquet").read_bytes()
    with pytest.raises(DatasetError, match=r"people.parquet is a damaged Parquet file"):
        read(data, filename="people.parquet")


def test_parquet_that_unpacks_to_too_much(read):
    data = parquet(id=["u1"] * 300_000, fee=[1.0] * 300_000, plan=["a"] * 300_000)
    assert len(data) < 100_000
    with pytest.raises(DatasetError, match="unpacks to more than 1000000 bytes, the limit"):
        read(data, filename="people.parquet", limits=Limits(unpacked_bytes=1_000_000))
