"""Suggestions as data, checked before anything is done."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml.contracts.schema import EdgeType, GraphSchema

FACTOR = (1.0, 10.0)
SOURCES = (1, 100)
FEW = "1-4"
"""As many targets as in the slice ``cold 1-4`` of the held-out metrics."""

KNOWN = ("action", "edge_type", "factor", "sources", "because", "evidence", "automatic")


class ActionError(ValueError):
    """A suggestion that cannot be carried out: what was got, and what was expected."""


@dataclass(frozen=True)
class Augment:
    """Add events of one edge type for sources that have few.

    Args:
        factor: A source that has ``k`` distinct targets in the train part gets
            ``ceil((factor - 1) k)`` more. Above 1, at most 10.
        sources: The least and the most distinct targets of a source that has few.
        because: The evidence, in numbers.
    """

    edge: EdgeType
    factor: float
    sources: tuple[int, int]
    because: str = ""

    @property
    def parameters(self) -> dict[str, Any]:
        low, high = self.sources
        return {
            "edge_type": self.edge.name,
            "factor": self.factor,
            "sources": f"{low}-{high}",
        }


def parse(suggestion: Mapping[str, Any], schema: GraphSchema) -> Augment:
    """A suggestion that can be carried out.

    Args:
        suggestion: ``{"action": "augment", "edge_type": "user-orders-product", "factor": 2,
            "sources": "1-4", "because": "…"}``; the last two may be left out. ``evidence`` and
            ``automatic`` may be there and change nothing.

    Raises:
        ActionError: on an unknown action, parameter or edge type, or a value out of range.
    """
    action = suggestion.get("action")
    if action != "augment":
        raise ActionError(f"action is {action!r}, expected 'augment': {dict(suggestion)}")
    if unknown := sorted(set(suggestion) - set(KNOWN)):
        raise ActionError(f"augment got {unknown}, expected no more than {list(KNOWN)}")
    edges = {edge.name: edge for edge in schema.edges}
    name = suggestion.get("edge_type")
    if name not in edges:
        raise ActionError(f"edge_type is {name!r}, expected one of {sorted(edges)}")
    because = str(suggestion.get("because", ""))
    return Augment(edges[name], _factor(suggestion), _sources(suggestion), because)


def _factor(suggestion: Mapping[str, Any]) -> float:
    low, high = FACTOR
    value = suggestion.get("factor")
    if isinstance(value, bool) or not isinstance(value, int | float) or not low < value <= high:
        raise ActionError(f"factor is {value!r}, expected a number above {low:g}, at most {high:g}")
    return float(value)


def _sources(suggestion: Mapping[str, Any]) -> tuple[int, int]:
    value = suggestion.get("sources", FEW)
    match = re.fullmatch(r"([0-9]{1,3})-([0-9]{1,3})", value) if isinstance(value, str) else None
    low, high = map(int, match.groups()) if match else (0, 0)
    if not SOURCES[0] <= low <= high <= SOURCES[1]:
        raise ActionError(
            f"sources is {value!r}, expected a range of targets such as '1-4', "
            f"from {SOURCES[0]} to {SOURCES[1]}"
        )
    return low, high
