"""The rule language's compiler for whole frames: a flat list of array operations.

It stands beside the compiler for one user in ``compilers``; the two agree on every input. A missing
number is NaN. A condition has two arrays, where it holds and where it fails; where neither, it is
missing. Equal parts of rules are computed once.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.rules.tree import (
    Arithmetic,
    Call,
    Compare,
    Count,
    Default,
    Field,
    Literal,
    Logic,
    Missing,
    Node,
    Not,
)
from ml.rules.user_compiler import BLANKS, COMPARE, NUMBER, column_of, fields_of, for_user

Array: TypeAlias = NDArray[Any]

BLOCK = 2**16
"""Rows at a time: what lies between input and output stays small and near the caches."""

OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", "<=": ">", ">": "<="}


@dataclass(frozen=True)
class Input:
    """What Polars reads from a frame: numbers or, as bytes that are 0 or 1, a condition.

    Args:
        expression: Gives no nulls.
        missing: Stands where a number is missing; None: a condition.
        column: The one column that is read; None: there are others, or it holds texts.
        careful: Instead of ``expression`` where the column may hold NaN or infinity.
    """

    expression: pl.Expr
    missing: float | None = None
    column: str | None = None
    careful: pl.Expr | None = None

    def reads(self, schema: pl.Schema) -> pl.Expr:
        """What to ask of a frame of this schema."""
        if self.careful is None or self.column is None or schema[self.column].is_integer():
            return self.expression
        return self.careful

    def array(self, read: pl.Series, frame: pl.DataFrame) -> Array:
        """The values that ``expression`` gave on the frame. Shape: [n]."""
        values: Array = read.to_numpy()
        if self.missing is None:
            return values.view(np.bool_)
        whole = self.column is not None and frame.get_column(self.column).dtype.is_integer()
        return values if whole else _finite(values, self.missing)


@dataclass(frozen=True)
class Instruction:
    """Fills the next slot from earlier slots; without ``apply``, from an input."""

    apply: Callable[..., Any] | None
    arguments: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """What was made of expressions.

    Args:
        inputs: Made of columns ``<feature>`` and ``event_counts.<type>``.
        instructions: In an order in which they can run.
        outputs: The slot of each expression.
    """

    inputs: tuple[Input, ...]
    instructions: tuple[Instruction, ...]
    outputs: tuple[int, ...]

    def run(self, frame: pl.DataFrame, dtype: Any = np.bool_) -> Array:
        """For each row the numbers (NaN: missing) or whether the conditions hold.

        Shapes: frame [n, …] → [outputs, n]
        """
        schema = frame.schema
        read = frame.select([self.inputs[i].reads(schema).alias(str(i)) for i in self._order])
        inputs = [item.array(read.get_column(str(i)), frame) for i, item in enumerate(self.inputs)]
        results = np.empty((len(self.outputs), frame.height), dtype)
        with np.errstate(all="ignore"):
            for start in range(0, frame.height, BLOCK):
                block = slice(start, start + BLOCK)
                slots: list[Any] = []
                for index, instruction in enumerate(self.instructions):
                    given = instruction.arguments
                    if instruction.apply is None:
                        slots.append(inputs[given[0]][block])
                        continue
                    row = self._in_place.get(index)
                    place = {} if row is None else {"out": results[row, block]}
                    slots.append(instruction.apply(*[slots[slot] for slot in given], **place))
                for row, slot in enumerate(self.outputs):
                    if self._in_place.get(slot) != row:
                        results[row, block] = slots[slot]
        return results

    @cached_property
    def _in_place(self) -> dict[int, int]:
        """Slots whose step can write into the output: what is not copied is not read again."""
        return {
            slot: row
            for row, slot in enumerate(self.outputs)
            if isinstance(self.instructions[slot].apply, np.ufunc)
        }

    @cached_property
    def _order(self) -> list[int]:
        # Texts take longest: begun first, they leave no thread of Polars idle at the end.
        return sorted(range(len(self.inputs)), key=lambda i: self.inputs[i].column is not None)


def for_frame(nodes: Sequence[Node]) -> Program:
    """Compile numbers and conditions together, so that they share what they have in common."""
    compiler = _Compiler(_readers(nodes))
    outputs = [
        compiler.number(node) if node.kind == "number" else compiler.condition(node, True)
        for node in nodes
    ]
    return Program(tuple(compiler.inputs), tuple(compiler.instructions), tuple(outputs))


class _Compiler:
    """A slot for each distinct number, and for where each distinct condition holds or fails."""

    def __init__(self, readers: Mapping[str, set[Node]]) -> None:
        self.readers = readers
        self.inputs: list[Input] = []
        self.instructions: list[Instruction] = []
        self.numbers: dict[Node, int] = {}
        self.conditions: dict[tuple[Node, bool], int] = {}

    def step(self, apply: Callable[..., Any] | None, *arguments: int) -> int:
        self.instructions.append(Instruction(apply, arguments))
        return len(self.instructions) - 1

    def constant(self, value: float | bool) -> int:
        return self.step(lambda: value)

    def input(self, item: Input) -> int:
        self.inputs.append(item)
        return self.step(None, len(self.inputs) - 1)

    def column_input(self, column: str, missing: float = math.nan) -> int:
        return self.input(Input(_filled(pl.col(column), missing), missing, column))

    def number_input(self, expression: pl.Expr) -> int:
        return self.input(Input(_filled(expression, math.nan), math.nan))

    def condition_input(self, expression: pl.Expr) -> int:
        return self.input(Input(_bytes(expression)))

    def number(self, node: Node) -> int:
        if node not in self.numbers:
            self.numbers[node] = self._number(node)
        return self.numbers[node]

    def _number(self, node: Node) -> int:
        if not fields_of(node):
            value = for_user(node)({})
            return self.constant(math.nan if value is None else value)
        match node:
            case Field(name, _):
                return self.column_input(name)
            case Count(event):
                return self.column_input(column_of(event))
            case Default(Count(event), Literal(value, _)):
                return self.column_input(column_of(event), float(value))
            case Default(item, default):
                return self.step(_default, self.number(item), self.number(default))
            case Arithmetic(sign, left, right):
                return self.step(_ARITHMETIC[sign], self.number(left), self.number(right))
            case Call("max" | "min" as name, items):
                slots = [self.number(item) for item in items]
                extreme = np.maximum if name == "max" else np.minimum
                return reduce(lambda a, b: self.step(extreme, a, b), slots)
            case Call("len", (item,)):
                return self.number_input(_text(item).str.len_chars())
            case Call(name, (item,)):
                number = self._converted(item)
                return self.step(np.trunc, number) if name == "int" else number
        raise AssertionError(f"a {type(node).__name__} is no number")

    def _converted(self, node: Node) -> int:
        match node.kind:
            case "number":
                return self.number(node)
            case "text":
                return self.number_input(_parsed(_text(node)))
        return self.step(_as_number, self.condition(node, True), self.condition(node, False))

    def condition(self, node: Node, holds: bool) -> int:
        """Where the condition holds, or where it fails; where it is missing it does neither."""
        key = node, holds
        if key not in self.conditions:
            self.conditions[key] = self._condition(node, holds)
        return self.conditions[key]

    def _condition(self, node: Node, holds: bool) -> int:
        if not fields_of(node):
            return self.constant(for_user(node)({}) is holds)
        of_texts = _of_texts(node)
        if of_texts is not None:
            return self.condition_input(of_texts if holds else ~of_texts)
        of_column = _of_column(node, holds)
        if of_column is not None and self.readers[str(of_column.column)] == {node}:
            return self.input(of_column)
        match node:
            case Not(item):
                return self.condition(item, not holds)
            case Logic(sign, items):
                join = np.logical_or if (sign == "or") is holds else np.logical_and
                slots = [self.condition(item, holds) for item in items]
                return reduce(lambda a, b: self.step(join, a, b), slots)
            case Missing(item):
                missing = self._missing(item)
                return missing if holds else self.step(np.logical_not, missing)
            case Compare(sign, left, right):
                return self._compare(sign if holds else OPPOSITE[sign], left, right)
        raise AssertionError(f"a {type(node).__name__} is no condition")

    def _missing(self, node: Node) -> int:
        if node.kind == "number":
            return self.step(np.isnan, self.number(node))
        known = self.step(np.logical_or, self.condition(node, True), self.condition(node, False))
        return self.step(np.logical_not, known)

    def _compare(self, sign: str, left: Node, right: Node) -> int:
        if left.kind == "number":
            return self.step(_COMPARE[sign], self.number(left), self.number(right))
        both, neither = (
            self.step(
                np.logical_and,
                self.condition(left, holds),
                self.condition(right, holds is (sign == "==")),
            )
            for holds in (True, False)
        )
        return self.step(np.logical_or, both, neither)


def _finite(number: Any, missing: float = math.nan) -> Any:
    """The number, or ``missing`` where it is infinite or, if that is not NaN, NaN."""
    infinite = np.isinf(number) if math.isnan(missing) else ~np.isfinite(number)
    return np.where(infinite, missing, number) if infinite.any() else number


def _default(number: Any, default: Any) -> Any:
    return np.where(np.isnan(number), default, number)


def _as_number(holds: Any, fails: Any) -> Any:
    return np.where(holds, 1.0, np.where(fails, 0.0, np.nan))


def _differ(a: Any, b: Any) -> Any:
    """NaN differs from nothing: it is missing."""
    return np.logical_or(np.less(a, b), np.greater(a, b))


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": np.equal,
    "!=": _differ,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def _divide(a: Any, b: Any) -> Any:
    return _finite(np.divide(a, b))  # NaN already where both are 0


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: _finite(np.add(a, b)),
    "-": lambda a, b: _finite(np.subtract(a, b)),
    "*": lambda a, b: _finite(np.multiply(a, b)),
    "/": _divide,
    "//": lambda a, b: np.floor(_divide(a, b)),
    "%": lambda a, b: _finite(np.subtract(a, np.multiply(np.floor(_divide(a, b)), b))),
}


def _of_texts(node: Node) -> pl.Expr | None:
    """A condition on nothing but texts, as Polars compares them; null where it is missing."""
    match node:
        case Compare(sign, left, right) if left.kind == "text":
            compared: pl.Expr = COMPARE[sign](_text(left), _text(right))
            return compared
        case Missing(item) if item.kind == "text":
            return _text(item).is_null()
        case Not(item):
            part = _of_texts(item)
            return None if part is None else ~part
        case Logic(sign, items):
            parts = [part for item in items if (part := _of_texts(item)) is not None]
            if len(parts) == len(items):
                return pl.any_horizontal(parts) if sign == "or" else pl.all_horizontal(parts)
    return None


def _readers(nodes: Sequence[Node]) -> dict[str, set[Node]]:
    """For each column the smallest conditions that read it, or the number if it is in none."""
    found: dict[str, set[Node]] = {}
    waiting = list(nodes)
    while waiting:
        match waiting.pop():
            case Not(item):
                waiting.append(item)
            case Logic(_, items):
                waiting += items
            case node:
                for column in fields_of(node):
                    found.setdefault(column, set()).add(node)
    return found


def _of_column(node: Node, holds: bool) -> Input | None:
    """A comparison of a column with a number, as Polars does it.

    If nothing else reads the column it need not be brought in, which takes longer than comparing.
    """
    match node:
        case Compare(sign, Field(column, "number"), Literal(value)):
            default = None
        case Compare(sign, Count(event), Literal(value)):
            column, default = column_of(event), None
        case Compare(sign, Default(Count(event), Literal(default)), Literal(value)):
            column = column_of(event)
        case _:
            return None
    compare = COMPARE[sign if holds else OPPOSITE[sign]]
    if default is not None and compare(default, value):
        return None  # it would hold where the count is missing
    number = pl.col(column).cast(pl.Float64)
    compared = compare(number, float(value))
    return Input(_bytes(compared), column=column, careful=_bytes(compared & number.is_finite()))


def _bytes(condition: pl.Expr) -> pl.Expr:
    """1 where it holds, else 0: faster than a cast from bits; a null takes the second branch."""
    return pl.when(condition).then(pl.lit(1, pl.UInt8)).otherwise(pl.lit(0, pl.UInt8))


def _filled(number: pl.Expr, missing: float) -> pl.Expr:
    return number.cast(pl.Float64).fill_null(missing)


def _text(node: Node) -> pl.Expr:
    match node:
        case Field(name, _):
            return pl.col(name).cast(pl.String)
        case Literal(value, _):
            return pl.lit(value, dtype=pl.String)
    raise AssertionError(f"a {type(node).__name__} is no text")


def _parsed(text: pl.Expr) -> pl.Expr:
    is_number = text.str.contains(NUMBER)
    value = text.str.strip_chars(BLANKS).cast(pl.Float64, strict=False)
    return pl.when(is_number).then(value)
