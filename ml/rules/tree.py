"""The rule language's tree: what ``expressions`` parses and ``compilers`` run."""

from dataclasses import dataclass
from typing import Literal as OneOf
from typing import TypeAlias

Kind = OneOf["number", "text", "condition"]
Value: TypeAlias = float | str | bool | None


@dataclass(frozen=True)
class Literal:
    value: float | str | bool
    kind: Kind


@dataclass(frozen=True)
class Field:
    """A feature of the user."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class Count:
    """How many events of one type the user has."""

    event: str
    kind: Kind = "number"


@dataclass(frozen=True)
class Default:
    """``item``, or ``default`` where it is missing."""

    item: "Node"
    default: "Node"
    kind: Kind = "number"


@dataclass(frozen=True)
class Arithmetic:
    operator: str
    left: "Node"
    right: "Node"
    kind: Kind = "number"


@dataclass(frozen=True)
class Call:
    function: str
    items: tuple["Node", ...]
    kind: Kind = "number"


@dataclass(frozen=True)
class Compare:
    operator: str
    left: "Node"
    right: "Node"
    kind: Kind = "condition"


@dataclass(frozen=True)
class Missing:
    """Whether ``item`` is missing."""

    item: "Node"
    kind: Kind = "condition"


@dataclass(frozen=True)
class Not:
    item: "Node"
    kind: Kind = "condition"


@dataclass(frozen=True)
class Logic:
    operator: OneOf["and", "or"]
    items: tuple["Node", ...]
    kind: Kind = "condition"


Node: TypeAlias = (
    Literal | Field | Count | Default | Arithmetic | Call | Compare | Missing | Not | Logic
)
