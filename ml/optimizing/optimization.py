"""Clean, deduplicate, and carry out what the evaluation suggested; every step is logged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from msgspec import structs

from ml.contracts.reports.dataset import OptimizingStep, RowChange
from ml.data.frames import Tables
from ml.graph.graph import build_graph
from ml.graph.splits import Split, split_graph
from ml.optimizing.actions import Augment, parse
from ml.optimizing.added import separate
from ml.optimizing.augmenting import augment
from ml.optimizing.cleaning import clean
from ml.optimizing.deduplicating import deduplicate
from ml.optimizing.steps import changes_of, count_rows


def optimize(
    tables: Tables,
    actions: Sequence[Mapping[str, Any]],
    seed: int,
    *,
    now: datetime,
    split: Split | None = None,
    progress: Callable[[float, str], object] = lambda share, message: None,
) -> tuple[Tables, tuple[OptimizingStep, ...]]:
    """Derived tables and what was done, step by step; the given tables stay as they are.

    The same arguments give the same tables.

    Args:
        actions: Suggestions, as ``ml.optimizing.actions.parse`` reads them; in their order.
        now: With a zone; what is later by more than a day is no event yet.
        split: Of the graph that will be trained on, without added events; None: of the graph of
            the cleaned tables, drawn with ``seed``.
        progress: Told before each step which share is done; what it raises ends the work.

    Raises:
        ActionError: on an action that cannot be carried out, before anything is done.
    """
    parsed = [parse(action, tables.schema) for action in actions]
    steps, todo = [], 2 + len(parsed)
    progress(0.0, "cleaning")
    cleaned, changes = clean(tables, now=now)
    steps.append(_step("clean", tables, cleaned, changes))
    progress(1 / todo, "looking for duplicates")
    unique, changes = deduplicate(cleaned)
    steps.append(_step("deduplicate", cleaned, unique, changes))
    if parsed and split is None:
        split = split_graph(build_graph(separate(unique)[0]), seed=seed)
    for number, action in enumerate(parsed):
        assert split is not None
        progress((2 + number) / todo, f"adding events to {action.edge.name}")
        more, step = _augmented(unique, split, action, np.random.default_rng([seed, number]))
        steps.append(step)
        unique = more
    return unique, tuple(steps)


def _augmented(
    tables: Tables, split: Split, action: Augment, generator: np.random.Generator
) -> tuple[Tables, OptimizingStep]:
    added = augment(tables, split, action, generator)
    more = replace(tables, events=pl.concat([tables.events, added]))
    reason = f"{action.edge.name}: drawn from what similar sources had"
    changes = changes_of("added", "events", added.with_columns(reason=pl.lit(reason)), "event_id")
    step = _step("augment", tables, more, changes)
    return more, structs.replace(step, parameters=action.parameters, because=action.because)


def _step(
    name: str, before: Tables, after: Tables, changes: tuple[RowChange, ...]
) -> OptimizingStep:
    return OptimizingStep(
        name=name, before=count_rows(before), after=count_rows(after), changes=list(changes)
    )
