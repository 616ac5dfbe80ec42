"""The rule language: one parser from text to a small typed tree.

A value is a number (a finite 64-bit float), a text, a condition, or missing. Every expression has
one of the three kinds before it runs: features are numbers or texts by the schema, event counts
are numbers. Comparing a text with a number is an error of the rule, not of a user.

Meaning (both compilers in ``compilers`` keep to it):

- Missing: a feature or count that is null, absent or not finite. Arithmetic, functions and
  comparisons with something missing are missing; so is a number that leaves the range of floats,
  and a division by zero.
- ``and or not`` are three-valued: ``False and missing`` is False, ``True or missing`` is True,
  otherwise a missing part makes the whole missing. A rule that comes out missing doesn't match.
- ``x is None``, ``x == None`` and their negations are never missing.
- ``+ - * /`` as floats; ``a // b`` is floor(a / b), ``a % b`` is a - floor(a / b) * b.
- Texts compare by code point. ``x in ('a', 'b')`` is ``x == 'a' or x == 'b'``.
- ``int(x)`` cuts toward zero, ``float(x)`` leaves a number; both read a text that is a decimal
  number with blanks around it (else missing) and turn a condition into 1 or 0. ``len(text)``
  counts characters. ``max`` and ``min`` take two numbers or more.
- ``event_counts['use']`` and ``event_counts.get('use')`` are missing without such events;
  ``event_counts.get('use', 0)`` gives the second value then; ``'use' in event_counts`` asks.
"""

import ast
import math
from typing import NoReturn

from ml.contracts.schema import GraphSchema
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
)

MAX_LENGTH = 4096
MAX_DEPTH = 50
MAX_NODES = 500
COUNTS = "event_counts"
FUNCTIONS = ("int", "float", "len", "max", "min")


class RuleError(ValueError):
    """A rule that can't be used; ``position`` is where in its text (from 0), or None."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}


def parse(expression: str, schema: GraphSchema) -> Node:
    """The tree of a rule's expression: a condition.

    Raises:
        RuleError: if it is too long or too deep, doesn't parse, names an unknown field, calls
            anything else than the functions above, or mixes kinds.
    """
    if not isinstance(expression, str) or not expression.strip():
        raise RuleError("the rule is empty, expected a condition such as tenure_months < 12", 0)
    if len(expression) > MAX_LENGTH:
        raise RuleError(
            f"the rule has {len(expression)} characters, expected at most {MAX_LENGTH}", MAX_LENGTH
        )
    text = expression.lstrip()
    reader = _Reader(text, len(expression) - len(text), schema)
    node = reader.read_whole()
    if node.kind != "condition":
        raise RuleError(
            f"the rule is a {node.kind}, expected a condition such as tenure_months < 12",
            reader.offset,
        )
    return node


class _Reader:
    """From Python's syntax tree to ours; refuses everything it doesn't know."""

    def __init__(self, text: str, offset: int, schema: GraphSchema) -> None:
        self.text = text
        self.offset = offset
        self.fields: dict[str, Kind] = {
            feature.name: "number" if feature.kind == "numeric" else "text"
            for feature in schema.user.features
        }
        self.nodes = 0

    def read_whole(self) -> Node:
        try:
            tree = ast.parse(self.text, mode="eval")
        except SyntaxError as error:
            column = error.offset - 1 if error.offset else len(self.text)
            position = self._position(error.lineno or 1, column, chars=True)
            raise RuleError(f"the rule does not parse: {error.msg}", position) from None
        except (ValueError, MemoryError, RecursionError, OverflowError) as error:
            reason = "too deeply nested" if not isinstance(error, ValueError) else str(error)
            raise RuleError(f"the rule does not parse: {reason}", self.offset) from None
        return self.read(tree.body, 1)

    def read(self, node: ast.expr, depth: int) -> Node:
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            self.fail(
                node,
                f"the rule is too large: it may nest {MAX_DEPTH} deep and have {MAX_NODES} parts",
            )
        match node:
            case ast.Constant(value=value):
                return self.literal(node, value)
            case ast.Name(id=name):
                return self.field(node, name)
            case ast.BoolOp(op=op, values=values):
                items = tuple(self.condition(value, depth) for value in values)
                return Logic("and" if isinstance(op, ast.And) else "or", items)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Not(self.condition(operand, depth))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return Arithmetic("-", Literal(0.0, "number"), self.number(operand, depth))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.number(operand, depth)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                operator = ARITHMETIC[type(op)]
                return Arithmetic(operator, self.number(left, depth), self.number(right, depth))
            case ast.Compare():
                return self.comparison(node, depth)
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(event))):
                if name == COUNTS:
                    return Count(self.event(node, event))
            case ast.Call():
                return self.call(node, depth)
        return self.fail(
            node,
            f"{self.source(node)} is not allowed; a rule has fields, numbers, texts, comparisons, "
            f"and or not, + - * / // %, event_counts and the functions {', '.join(FUNCTIONS)}",
        )

    def literal(self, node: ast.expr, value: object) -> Node:
        match value:
            case bool():
                return Literal(value, "condition")
            case int() | float():
                try:
                    number = float(value)
                except OverflowError:
                    number = math.inf
                if not math.isfinite(number):
                    self.fail(node, "the number is too large for a 64-bit float")
                return Literal(number, "number")
            case str():
                if any("\ud800" <= char <= "\udfff" for char in value):
                    self.fail(node, "the text has a lone surrogate, which is no character")
                return Literal(value, "text")
            case None:
                self.fail(node, "None may only stand in a comparison, as in plan is None")
        return self.fail(node, f"a {type(value).__name__} is not allowed")

    def field(self, node: ast.expr, name: str) -> Node:
        if name in self.fields:
            return Field(name, self.fields[name])
        if name == COUNTS:
            self.fail(node, "event_counts needs a type: event_counts.get('use', 0)")
        known = ", ".join([*self.fields, COUNTS])
        return self.fail(node, f"unknown field {name!r}, expected one of {known}")

    def event(self, node: ast.expr, name: str) -> str:
        self.literal(node, name)
        return name

    def comparison(self, node: ast.Compare, depth: int) -> Node:
        sides = [node.left, *node.comparators]
        parts = [
            self.pair(left, operator, right, depth)
            for left, operator, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        return parts[0] if len(parts) == 1 else Logic("and", tuple(parts))

    def pair(self, left: ast.expr, operator: ast.cmpop, right: ast.expr, depth: int) -> Node:
        match operator, left, right:
            case (ast.In() | ast.NotIn(), _, _):
                found = self.membership(left, right, depth)
                return Not(found) if isinstance(operator, ast.NotIn) else found
            case (ast.Is() | ast.Eq(), other, ast.Constant(value=None)):
                return Missing(self.read(other, depth + 1))
            case (ast.Is() | ast.Eq(), ast.Constant(value=None), other):
                return Missing(self.read(other, depth + 1))
            case (ast.IsNot() | ast.NotEq(), other, ast.Constant(value=None)):
                return Not(Missing(self.read(other, depth + 1)))
            case (ast.IsNot() | ast.NotEq(), ast.Constant(value=None), other):
                return Not(Missing(self.read(other, depth + 1)))
        if type(operator) not in COMPARISONS:
            self.fail(right, "is and is not compare with None only, expected == or !=")
        a, b = self.read(left, depth + 1), self.read(right, depth + 1)
        sign = COMPARISONS[type(operator)]
        if a.kind != b.kind:
            self.fail(right, f"can't compare a {a.kind} with a {b.kind}")
        if a.kind == "condition" and sign not in ("==", "!="):
            self.fail(right, f"conditions have no order, expected == or != in place of {sign}")
        return Compare(sign, a, b)

    def membership(self, left: ast.expr, right: ast.expr, depth: int) -> Node:
        match left, right:
            case ast.Constant(value=str(event)), ast.Name(id=name) if name == COUNTS:
                return Not(Missing(Count(self.event(left, event))))
            case _, ast.Tuple(elts=options) | ast.List(elts=options) | ast.Set(elts=options):
                if not options:
                    self.fail(right, "got an empty list, expected at least one value")
                item = self.read(left, depth + 1)
                parts = []
                for option in options:
                    literal = self.read(option, depth + 1)
                    if literal.kind != item.kind:
                        self.fail(option, f"can't find a {item.kind} among a {literal.kind}")
                    parts.append(Compare("==", item, literal))
                return Logic("or", tuple(parts))
        return self.fail(right, "in needs a list such as ('a', 'b') on its right")

    def call(self, node: ast.Call, depth: int) -> Node:
        if node.keywords or any(isinstance(item, ast.Starred) for item in node.args):
            self.fail(node, "functions take plain arguments only")
        match node.func:
            case ast.Attribute(value=ast.Name(id=name), attr="get") if name == COUNTS:
                return self.count(node, depth)
            case ast.Name(id=name) if name in FUNCTIONS:
                return self.function(node, name, depth)
        return self.fail(
            node,
            f"{self.source(node.func)} can't be called, expected one of "
            f"{', '.join(FUNCTIONS)} or event_counts.get",
        )

    def count(self, node: ast.Call, depth: int) -> Node:
        match node.args:
            case [ast.Constant(value=str(event))]:
                return Count(self.event(node, event))
            case [ast.Constant(value=str(event)), ast.Constant(value=None)]:
                return Count(self.event(node, event))
            case [ast.Constant(value=str(event)), default]:
                return Default(Count(self.event(node, event)), self.number(default, depth))
        return self.fail(node, "event_counts.get takes a type in quotes and a number: ('use', 0)")

    def function(self, node: ast.Call, name: str, depth: int) -> Node:
        items = tuple(self.read(item, depth + 1) for item in node.args)
        if name in ("max", "min"):
            if len(items) < 2 or any(item.kind != "number" for item in items):
                self.fail(node, f"{name} takes two numbers or more")
        elif len(items) != 1:
            self.fail(node, f"{name} takes one argument, got {len(items)}")
        elif name == "len" and items[0].kind != "text":
            self.fail(node, f"len takes a text, got a {items[0].kind}")
        return Call(name, items)

    def number(self, node: ast.expr, depth: int) -> Node:
        item = self.read(node, depth + 1)
        if item.kind != "number":
            self.fail(node, f"expected a number, got a {item.kind}: {self.source(node)}")
        return item

    def condition(self, node: ast.expr, depth: int) -> Node:
        item = self.read(node, depth + 1)
        if item.kind != "condition":
            self.fail(node, f"and, or, not join conditions, got a {item.kind}: {self.source(node)}")
        return item

    def fail(self, node: ast.expr, message: str) -> NoReturn:
        raise RuleError(message, self._position(node.lineno, node.col_offset))

    def source(self, node: ast.expr) -> str:
        text = ast.get_source_segment(self.text, node) or type(node).__name__
        return text if len(text) <= 60 else f"{text[:60]}…"

    def _position(self, line: int, column: int, *, chars: bool = False) -> int:
        """Index into the whole text; ast counts columns in UTF-8 bytes, SyntaxError in chars."""
        lines = self.text.splitlines(keepends=True) or [""]
        before = sum(len(part) for part in lines[: line - 1])
        here = lines[min(line, len(lines)) - 1]
        within = column if chars else len(here.encode()[:column].decode(errors="ignore"))
        return min(self.offset + before + within, self.offset + len(self.text))
