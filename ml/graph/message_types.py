"""What messages travel along: edges of one type, one way, of one class of ages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from ml.contracts.schema import EdgeKey, GraphSchema

UNKNOWN_AGE = -1
"""Class of an edge whose time is not known, and of all edges where ages play no part."""

REVERSE = "rev_"
"""Begins the relation of a message type that runs against the edges, in its ``key``."""

Value = TypeVar("Value")


class MessageSender(NamedTuple):
    """Whose keys and values messages are made of: nodes of a type as edges of an age see them."""

    node_type: str
    age: int = UNKNOWN_AGE


@dataclass(frozen=True, order=True, slots=True)
class MessageType:
    """Edges of one type that carry messages one way.

    Args:
        source: Node type that sends.
        relation: That of the edge type, whichever way the messages travel.
        target: Node type that receives.
        reverse: Whether messages travel from the edges' targets to their sources.
        age: Class of the edges' ages.
    """

    source: str
    relation: str
    target: str
    reverse: bool = False
    age: int = UNKNOWN_AGE

    @property
    def key(self) -> EdgeKey:
        """Its name in state dicts, which is the same for every age."""
        relation = REVERSE + self.relation if self.reverse else self.relation
        return self.source, relation, self.target

    @property
    def edge_key(self) -> EdgeKey:
        """The edge type whose edges they are."""
        if self.reverse:
            return self.target, self.relation, self.source
        return self.source, self.relation, self.target

    @property
    def sender(self) -> MessageSender:
        """Whose keys and values its messages are made of."""
        return MessageSender(self.source, self.age)

    @property
    def reversed(self) -> "MessageType":
        """Along the same edges the other way."""
        return MessageType(self.target, self.relation, self.source, not self.reverse, self.age)

    @property
    def ageless(self) -> "MessageType":
        """The type without an age, as a schema gives it."""
        return self.of_age(UNKNOWN_AGE)

    def of_age(self, age: int) -> "MessageType":
        """Along those of the edges that are of another class of ages."""
        return replace(self, age=age)

    def __str__(self) -> str:
        age = "" if self.age == UNKNOWN_AGE else f" of age {self.age}"
        return "-".join(self.key) + age


def message_types(schema: GraphSchema) -> list[MessageType]:
    """Every edge type and its reverse, in the one order that models rely on."""
    forward = [MessageType(*edge.key) for edge in schema.edges]
    return forward + [message.reversed for message in forward]


def all_ages(message: MessageType, classes: int) -> list[MessageType]:
    """A message type without age, then in every class of ages."""
    return [message.of_age(age) for age in range(UNKNOWN_AGE, classes)]


def of_any_age(by_type: Mapping[MessageType, Value], message: MessageType) -> list[Value]:
    """The values of a message type without age and in every class of ages that is there."""
    return [value for other, value in by_type.items() if other.ageless == message]


def names(messages: Sequence[MessageType]) -> list[str]:
    """Message types as an error names them."""
    return [str(message) for message in messages]
