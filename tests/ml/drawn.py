"""A graph small enough to draw by hand."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import torch

from ml.contracts.schema import TELECOM
from ml.graph.adjacency import SparseRows

START = datetime(2025, 1, 1, tzinfo=UTC)


def events_frame(rows):
    """Rows of (type, actor, target, target_type, day or None)."""
    return pl.DataFrame(
        {
            "event_id": [str(i) for i in range(len(rows))],
            "type": [row[0] for row in rows],
            "timestamp": [
                None if row[4] is None else START + timedelta(days=row[4]) for row in rows
            ],
            "actor": [row[1] for row in rows],
            "target": [row[2] for row in rows],
            "target_type": [row[3] for row in rows],
        },
        schema={
            "event_id": pl.String,
            "type": pl.String,
            "timestamp": pl.Datetime("us", "UTC"),
            "actor": pl.String,
            "target": pl.String,
            "target_type": pl.String,
        },
    )


def drawn_tables(rows):
    """Four users, three products, two apps and the given events."""
    users = pl.DataFrame(
        {
            "user_id": ["ann", "bob", "cat", "dan"],
            "monthly_fee": [10.0, 20.0, None, 40.0],
            "tenure_months": [1.0, 2.0, 3.0, 4.0],
            "plan": ["basic", "gold", "basic", None],
            "level": ["a", "a", "b", "b"],
            "device_brand": ["x", "y", "x", "y"],
            "churn": pl.Series([0, 1, None, 0], dtype=pl.Int8),
        }
    )
    products = pl.DataFrame(
        {
            "product_id": ["p1", "p2", "p3"],
            "price": [1.0, 2.0, 3.0],
            "name": ["one", "two", "three"],
        }
    )
    apps = pl.DataFrame({"app_id": ["a1", "a2"], "name": ["chat", "maps"]})
    return SimpleNamespace(
        schema=TELECOM, users=users, products=products, apps=apps, events=events_frame(rows)
    )


ROWS = [
    ("call", "ann", "bob", "user", 1),
    ("call", "ann", "bob", "user", 5),
    ("call", "bob", "cat", "user", 2),
    ("order", "ann", "p1", "product", 3),
    ("order", "bob", "p1", "product", 4),
    ("order", "cat", "p2", "product", 6),
    ("click", "dan", "p3", "product", 7),
    ("use", "ann", "a1", "app", 8),
    ("click", "bob", "a2", "app", 9),
]


def rows_of(lists: list[np.ndarray[tuple[int], np.dtype[np.int64]]]) -> SparseRows:
    """Rows 0, 1, … with the given neighbours; empty ones are left out."""
    sizes = np.array([len(neighbours) for neighbours in lists], np.int64)
    index = np.flatnonzero(sizes)
    start = np.zeros(len(index) + 1, np.int64)
    np.cumsum(sizes[index], out=start[1:])
    other = np.concatenate([*lists, np.empty(0, np.int64)]).astype(np.int32)
    return SparseRows(
        torch.from_numpy(index.astype(np.int32)), torch.from_numpy(start), torch.from_numpy(other)
    )


def aging(model):
    """A model in which the ages of edges count, if it knows any: before training they do not."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".time." in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model.eval()
