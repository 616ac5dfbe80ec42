"""The rule language's compiler for one user; the one for a whole frame is in ``frames``.

The two must agree on every input.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ml.rules.parser import COUNTS
from ml.rules.tree import (
    Arithmetic,
    Call,
    Compare,
    Count,
    Default,
    Field,
    Kind,
    Literal,
    Logic,
    Missing,
    Node,
    Not,
    Value,
)

User: TypeAlias = Mapping[str, Any]
Closure: TypeAlias = Callable[[User], Any]

BLANKS = " \t\r\n"
NUMBER = rf"^[{BLANKS}]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[{BLANKS}]*$"
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def column_of(event: str) -> str:
    """The frame's column with the counts of one event type."""
    return f"{COUNTS}.{event}"


def fields_of(node: Node) -> dict[str, Kind]:
    """The columns an expression reads and what they hold."""
    match node:
        case Field(name, kind):
            return {name: kind}
        case Count(event):
            return {column_of(event): "number"}
        case Literal():
            return {}
        case Missing(item) | Not(item):
            return fields_of(item)
        case Default(left, right) | Arithmetic(_, left, right) | Compare(_, left, right):
            return fields_of(left) | fields_of(right)
        case Call(_, items) | Logic(_, items):
            return {name: kind for item in items for name, kind in fields_of(item).items()}


def for_user(node: Node) -> Closure:
    """A function of one user (flat: features beside ``event_counts``); None means missing.

    The function raises ValueError if a field holds something of another kind.
    """
    match node:
        case Literal(value):
            return lambda user: value
        case Field(name, "number"):
            return lambda user: _number(name, user.get(name))
        case Field(name, _):
            return lambda user: _text(name, user.get(name))
        case Count(event):
            return lambda user: _number(column_of(event), (user.get(COUNTS) or {}).get(event))
        case Default(item, default):
            first, second = for_user(item), for_user(default)
            return lambda user: second(user) if (got := first(user)) is None else got
        case Missing(item):
            part = for_user(item)
            return lambda user: part(user) is None
        case Not(item):
            part = for_user(item)
            return lambda user: None if (got := part(user)) is None else not got
        case Logic(sign, items):
            return _logic(sign == "or", [for_user(item) for item in items])
        case Arithmetic(sign, left, right):
            return _both(_ARITHMETIC[sign], for_user(left), for_user(right))
        case Compare(sign, left, right):
            return _both(COMPARE[sign], for_user(left), for_user(right))
        case Call(function, items):
            return _all(_FUNCTIONS[function], [for_user(item) for item in items])


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise ValueError(f"{name} is {value!r}, expected a number or None")
    try:
        return _finite(float(value))
    except OverflowError:
        return None


def _text(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}, expected a text or None")
    return value


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _both(apply: Callable[[Any, Any], Value], first: Closure, second: Closure) -> Closure:
    def run(user: User) -> Value:
        a, b = first(user), second(user)
        return None if a is None or b is None else apply(a, b)

    return run


def _all(apply: Callable[..., Value], parts: list[Closure]) -> Closure:
    def run(user: User) -> Value:
        items = [part(user) for part in parts]
        return None if any(item is None for item in items) else apply(*items)

    return run


def _logic(winner: bool, parts: list[Closure]) -> Closure:
    """Three-valued: one ``winner`` decides, else one missing part makes the whole missing."""

    def run(user: User) -> bool | None:
        items = [part(user) for part in parts]
        if winner in items:
            return winner
        return None if None in items else not winner

    return run


def _divide(a: float, b: float) -> float | None:
    return None if b == 0 else _finite(a / b)


def _floor_divide(a: float, b: float) -> float | None:
    quotient = _divide(a, b)
    return None if quotient is None else float(math.floor(quotient))


def _modulo(a: float, b: float) -> float | None:
    quotient = _floor_divide(a, b)
    return None if quotient is None else _finite(a - quotient * b)


def _float(value: float | str | bool) -> float | None:
    if isinstance(value, str):
        return _finite(float(value.strip(BLANKS))) if re.fullmatch(NUMBER, value) else None
    return float(value)


def _int(value: float | str | bool) -> float | None:
    number = _float(value)
    return None if number is None else float(math.trunc(number))


_ARITHMETIC: dict[str, Callable[[Any, Any], float | None]] = {
    "+": lambda a, b: _finite(a + b),
    "-": lambda a, b: _finite(a - b),
    "*": lambda a, b: _finite(a * b),
    "/": _divide,
    "//": _floor_divide,
    "%": _modulo,
}
_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "int": _int,
    "float": _float,
    "len": lambda text: float(len(text)),
    "max": max,
    "min": min,
}
