"""Suggestions as data, checked before anything is done."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml.data.schema import EdgeType, GraphSchema

FACTOR = (1.0, 10.0)
MAX_TARGETS = (1, 100)
FEW = 4
"""As many targets as the slice ``cold 1-4`` of the held-out metrics goes up to."""


@dataclass(frozen=True)
class Augment:
    """Add events of one edge type for sources that have few.

    Args:
        factor: A source that has ``k`` distinct targets in the train part gets
            ``ceil((factor - 1) k)`` more. Above 1, at most 10.
        max_targets: Distinct targets up to which a source has few.
        because: The evidence, in numbers.
    """

    edge: EdgeType
    factor: float
    max_targets: int = FEW
    because: str = ""

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "edge_type": self.edge.name,
            "factor": self.factor,
            "max_targets": self.max_targets,
        }


def parse(suggestion: Mapping[str, Any], schema: GraphSchema) -> Augment:
    """A suggestion that can be carried out.

    Args:
        suggestion: ``{"action": "augment", "edge_type": "user-orders-product", "factor": 2,
            "max_targets": 4, "because": "…"}``; the last two may be left out.

    Raises:
        ValueError: on an unknown action, parameter or edge type, or a value out of range; the
            message says what was got and what was expected.
    """
    action = suggestion.get("action")
    if action != "augment":
        raise ValueError(f"action is {action!r}, expected 'augment': {dict(suggestion)}")
    known = {"action", "edge_type", "factor", "max_targets", "because"}
    if unknown := sorted(set(suggestion) - known):
        raise ValueError(f"augment got {unknown}, expected no more than {sorted(known)}")
    edges = {edge.name: edge for edge in schema.edges}
    name = suggestion.get("edge_type")
    if name not in edges:
        raise ValueError(f"edge_type is {name!r}, expected one of {sorted(edges)}")
    factor = _number(suggestion, "factor", float | int)
    if not FACTOR[0] < factor <= FACTOR[1]:
        raise ValueError(f"factor is {factor}, expected above {FACTOR[0]:g}, at most {FACTOR[1]:g}")
    few = _number({"max_targets": FEW, **suggestion}, "max_targets", int)
    if not MAX_TARGETS[0] <= few <= MAX_TARGETS[1]:
        raise ValueError(
            f"max_targets is {few}, expected from {MAX_TARGETS[0]} to {MAX_TARGETS[1]}"
        )
    return Augment(edges[name], float(factor), int(few), str(suggestion.get("because", "")))


def _number(suggestion: Mapping[str, Any], name: str, kind: Any) -> float:
    value = suggestion.get(name)
    if isinstance(value, bool) or not isinstance(value, kind):
        expected = "a whole number" if kind is int else "a number"
        raise ValueError(f"{name} is {value!r}, expected {expected}")
    number: float = value
    return number
