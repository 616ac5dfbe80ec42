"""Who plays: the rules, and the kinds of evidence about a user."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ml.contracts.reports.explanation import Contribution
from ml.contracts.schema import GraphSchema
from ml.explanation.game import Columns
from ml.explanation.shapley import Coalitions
from ml.fusion.evidence import COUNT_PREFIX, AttributeEncoder, Matrix
from ml.graph.message_types import MessageType, message_types

EmbedCoalitions = Callable[[Coalitions], Matrix]
"""A user's embedding with some kinds of evidence in play. Shapes: [C, K] → [C, D]."""

ATTRIBUTES = "attributes"


@dataclass(frozen=True)
class Kinds:
    """Kinds of evidence: the user's own attributes, then a kind for each type of event.

    Args:
        events: Types of events, in the schema's order; kind 0 is the attributes, kind i + 1 the
            i-th of them.
        words: What people call each of them: the relation that the events make (``calls``), or
            the type itself where two types make relations of one name.
    """

    events: tuple[str, ...]
    words: tuple[str, ...]

    @classmethod
    def of(cls, schema: GraphSchema) -> "Kinds":
        events = schema.event_types
        made = {e: {edge.relation for edge in schema.edges if edge.event == e} for e in events}
        words = []
        for event in events:
            (word, *more) = sorted(made[event])
            others = [other for other in events if other != event and word in made[other]]
            clear = not more and not others and word != ATTRIBUTES
            words.append(word if clear else event)
        return cls(events, tuple(words))

    def __len__(self) -> int:
        return 1 + len(self.events)

    @property
    def names(self) -> tuple[str, ...]:
        """``attributes``, then the words."""
        return (ATTRIBUTES, *self.words)

    def of_event(self, event: str) -> int:
        """The kind that events of a type belong to."""
        return 1 + self.events.index(event)

    def of_messages(self, schema: GraphSchema) -> dict[MessageType, int]:
        """The kind of every message type, reverse ones included."""
        kinds = [self.of_event(edge.event) for edge in schema.edges]
        return dict(zip(message_types(schema), kinds * 2, strict=True))

    def owner(self, encoder: AttributeEncoder) -> Columns:
        """The kind that each column of the attribute matrix belongs to: counts of events to their
        type, all others to the attributes. Shape: [A]."""
        kinds = []
        for name, width in encoder.columns.items():
            counted = name in encoder.counts
            kind = self.of_event(name.removeprefix(COUNT_PREFIX)) if counted else 0
            kinds += [kind] * width
        return np.array(kinds, np.int64)


def in_words(contributions: Sequence[Contribution], *, most: int = 5) -> str:
    """The largest contributions as people say them, like ``calls -0.12, orders +0.05``."""
    phrases = []
    for row in contributions[:most]:
        name = f"rule {row.player}" if row.kind == "rule" else row.player
        if abs(row.contribution) >= 0.005:
            phrases.append(f"{name} {signed(row.contribution)}")
    return ", ".join(phrases) or "no part moves the score by .005 or more"


def signed(part: float) -> str:
    """To two digits, with a minus sign that is one."""
    return f"{part:+.2f}".replace("-", "\N{MINUS SIGN}")
