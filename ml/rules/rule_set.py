"""Rules: readable conditions on a user's features and event counts, and a score made of them.

The language and its meaning are described in ``expressions``. Knows no torch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.contracts.schema import GraphSchema
from ml.rules.frame_compiler import Program, for_frame
from ml.rules.parser import MAX_LENGTH, RuleError, parse
from ml.rules.tree import Kind, Node
from ml.rules.user_compiler import Closure, fields_of, for_user

__all__ = [
    "DEFAULT_RULES",
    "MAX_LENGTH",
    "CompiledRule",
    "Rule",
    "RuleError",
    "RuleSet",
    "compile_rule",
    "default_rules",
    "with_fields",
]


@dataclass(frozen=True)
class CompiledRule:
    """An expression ready to run, for one user or a frame."""

    expression: str
    tree: Node

    @cached_property
    def _closure(self) -> Closure:
        return for_user(self.tree)

    @property
    def fields(self) -> frozenset[str]:
        """The columns it reads: features and ``event_counts.<type>``."""
        return frozenset(fields_of(self.tree))

    def matches(self, user: Mapping[str, Any]) -> bool:
        """Whether the rule holds for ``{"monthly_fee": 70.0, …, "event_counts": {"use": 3}}``.

        A feature or count that is absent or None is missing; a rule that comes out missing
        doesn't match.

        Raises:
            ValueError: if a field holds a value of another kind.
        """
        return self._closure(user) is True

    def column(self, frame: pl.DataFrame) -> pl.Series:
        """The same for each row, without nulls; ``with_fields`` adds columns the frame lacks."""
        return pl.Series(for_frame([self.tree]).run(frame)[0])


@dataclass(frozen=True)
class Rule:
    """A named condition. A positive weight raises the risk score where it holds, a negative
    one lowers it."""

    name: str
    expression: str
    weight: float


DEFAULT_RULES = (
    Rule("high_value", "monthly_fee >= 70", 0.5),
    Rule("loyal", "tenure_months >= 24", -1.0),
    Rule("digitally_active", "event_counts.get('use', 0) >= 20", -0.5),
    Rule("potential_churn", "tenure_months < 12 and monthly_fee >= 40", 1.0),
)
"""High value, loyal, digitally active, potential churn: together a score of the risk of churn."""


def compile_rule(expression: str, schema: GraphSchema) -> CompiledRule:
    """The expression, parsed and checked against the schema's user features.

    Raises:
        RuleError: with the position and a message for a person.
    """
    return CompiledRule(expression, parse(expression, schema))


def default_rules(schema: GraphSchema) -> tuple[Rule, ...]:
    """Those of ``DEFAULT_RULES`` whose features the schema has."""
    usable = []
    for rule in DEFAULT_RULES:
        try:
            compile_rule(rule.expression, schema)
        except RuleError:
            continue
        usable.append(rule)
    return tuple(usable)


def with_fields(frame: pl.DataFrame, fields: Mapping[str, Kind]) -> pl.DataFrame:
    """The frame with a null column for each field it lacks.

    Args:
        fields: Column → ``number``, ``text``, as ``fields_of`` gives them.

    Raises:
        ValueError: if a column holds values of another kind.
    """
    schema = frame.schema
    for name, kind in fields.items():
        dtype = schema.get(name)
        if dtype is not None and not _holds(dtype, kind):
            raise ValueError(f"column {name} is {dtype}, expected a {kind}")
    absent = [pl.lit(None).alias(name) for name in fields if name not in schema]
    return frame.with_columns(absent) if absent else frame


def _holds(dtype: pl.DataType, kind: Kind) -> bool:
    """Whether a column of this type can hold a number or a text; one of nulls holds either."""
    if kind == "number":
        return dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)
    return dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)


class RuleSet:
    """Several rules and the score they give.

    Raises:
        RuleError: if a rule doesn't compile, has no name, a name twice, or a weight that is not
            finite; the message begins with the rule's name.
    """

    def __init__(self, rules: Sequence[Rule], schema: GraphSchema) -> None:
        self.rules = tuple(rules)
        self.compiled = tuple(_compiled(rule, schema) for rule in self.rules)
        names = [rule.name for rule in self.rules]
        if len(set(names)) != len(names):
            raise RuleError(f"a rule's name is given twice: {names}")

    def __len__(self) -> int:
        return len(self.rules)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(rule.name for rule in self.rules)

    def hits(self, user: Mapping[str, Any]) -> list[bool]:
        """Which rules match one user, in the order of the rules."""
        return [rule.matches(user) for rule in self.compiled]

    def hits_frame(self, frame: pl.DataFrame) -> NDArray[np.bool_]:
        """Which rules match each row; columns the frame lacks are missing values.

        Shapes: frame [n, …] → [n, R]
        """
        return self._program.run(with_fields(frame, self._fields)).T

    @cached_property
    def _program(self) -> Program:
        return for_frame([rule.tree for rule in self.compiled])

    @cached_property
    def _fields(self) -> dict[str, Kind]:
        return {k: v for rule in self.compiled for k, v in fields_of(rule.tree).items()}

    @overload
    def score(self, hits: Sequence[bool]) -> float: ...
    @overload
    def score(self, hits: NDArray[np.bool_]) -> Any: ...
    def score(self, hits: Any) -> Any:
        r"""The risk score: :math:`\sum_r w_r h_r / \sum_r |w_r|`, in [-1, 1]; 0 without rules.

        Shapes: [R] → a float; [n, R] → [n]
        """
        weights = [rule.weight for rule in self.rules]
        total = sum(abs(weight) for weight in weights)
        if getattr(hits, "ndim", 1) == 2:
            return hits.astype(float) @ weights / total if total else hits.sum(axis=1) * 0.0
        gained = sum(weight for weight, hit in zip(weights, hits, strict=True) if hit)
        return float(gained / total) if total else 0.0


def _compiled(rule: Rule, schema: GraphSchema) -> CompiledRule:
    if not rule.name:
        raise RuleError("a rule has no name, expected one")
    if not math.isfinite(rule.weight):
        raise RuleError(f"{rule.name}: the weight is {rule.weight}, expected a finite number")
    try:
        return compile_rule(rule.expression, schema)
    except RuleError as error:
        raise RuleError(f"{rule.name}: {error}", error.position) from None
