"""Events that the optimizing made, told from real ones by their ids."""

from dataclasses import replace

import polars as pl

from ml.data.frames import Tables

PREFIX = "augmented-"


def separate(tables: Tables) -> tuple[Tables, pl.DataFrame]:
    """The tables with the real events alone, and the events that were made.

    The graph, counts, profiles and held-out parts are those of the real events; only training
    sees the others.
    """
    made = pl.col("event_id").fill_null("").str.starts_with(PREFIX)
    return replace(tables, events=tables.events.filter(~made)), tables.events.filter(made)


def next_number(events: pl.DataFrame) -> int:
    """The first number that no event's id has yet."""
    pattern = f"^{PREFIX}([0-9]+)$"
    numbers = events["event_id"].str.extract(pattern).cast(pl.Int64, strict=False)
    last = numbers.max()
    return int(last) + 1 if isinstance(last, int) else 1
